"""Measures of quality by which two versions are compared (for counters and gauges see `telemetry`)."""
