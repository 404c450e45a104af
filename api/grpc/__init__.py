"""The gRPC server of a worker: limits, errors and health that all services share, and one file a service."""
