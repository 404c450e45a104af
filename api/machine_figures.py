"""Figures that no worker counts: they are read at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Machine(Collector):
    """The machine's memory, and the versions of what runs: `info` by label."""

    def __init__(self, info: dict[str, str]) -> None:
        self._info = info

    def collect(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily("system_memory_available_bytes", "As the kernel estimates it")
        memory.add_metric([], available_bytes())
        yield memory
        info = GaugeMetricFamily("service_info", "Always 1", labels=list(self._info))
        info.add_metric(list(self._info.values()), 1)
        yield info


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory that can be used without swapping; NaN where the system does not tell."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return float("nan")
    return next(
        (float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), float("nan")
    )
