"""Metrics by which two versions are compared."""
