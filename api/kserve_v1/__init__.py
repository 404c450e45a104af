"""The predict protocol of KServe V1 and TensorFlow Serving, over HTTP."""
