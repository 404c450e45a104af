"""The service beside the limit of the machine: `python -m benchmarks.run`."""
