"""The lasting record: versions and their status, the desired state, the audit log."""
