"""The Open Inference Protocol (KServe V2) on the core, and its HTTP wire."""
