"""The predict protocol of KServe V1 and TensorFlow Serving, on the core, over HTTP."""
