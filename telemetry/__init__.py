"""Metrics, the recorder of outcomes, logs."""
