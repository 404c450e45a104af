"""The lasting record: the desired state on disk, and what the running service says of itself."""
