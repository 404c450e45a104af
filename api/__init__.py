"""The wires, HTTP and gRPC: decode a request, call the data plane or the control, encode the answer."""
