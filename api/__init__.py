"""The wires: HTTP now, gRPC to come. They decode, call the data plane or the control, and encode."""
