"""What goes over gRPC: the protos, and the Python that `scripts/protos` generates from them."""
