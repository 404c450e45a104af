"""Metrics and logs: what is declared, where it is counted, and how the workers' counts are summed."""
