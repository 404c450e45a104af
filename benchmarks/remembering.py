"""Memory over many swaps between two versions of a heavy model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

from benchmarks.client import LoadGenerator, request
from benchmarks.machine import memory
from benchmarks.serving import Service

NAME = "heavy"
#: Workers that do not hand freed heap back to the system: what is lost without that shows.
UNTRIMMED = """
import os, sys
sys.path.insert(0, os.getcwd())
from hotswap import lifecycle
lifecycle.trim_memory = lambda: None
"""
_PATIENCE = 60.0
_BUSY_SECONDS = 0.1


@dataclass(slots=True)
class MemoryResult:
    """Resident and proportional memory of the one worker after each swap, in MB."""

    size_mb: float
    trimmed: bool = True
    resident: list[float] = field(default_factory=list)
    proportional: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """From the first swap to the last, in MB."""
        return self.resident[-1] - self.resident[0]

    @property
    def growth_per_swap(self) -> float:
        """In MB; the medians of the first and last thirds are compared, for single samples jump."""
        third = max(1, len(self.resident) // 3)
        apart = max(1, len(self.resident) - third)
        return (median(self.resident[-third:]) - median(self.resident[:third])) / apart

    @property
    def growth_share(self) -> float:
        """The growth as a share of the model's size."""
        return self.growth / self.size_mb


def measure(
    service: Service,
    versions: Sequence[Path],
    pictures: Sequence[bytes],
    swaps: int,
    tell: Callable[[str], None],
    *,
    trimmed: bool = True,
) -> MemoryResult:
    """Flip between the versions, with some requests between."""
    weights = versions[0] / "weights.onnx"
    result = MemoryResult(weights.stat().st_size / 1e6, trimmed)
    (pid,) = service.pids
    with httpx.Client(base_url=service.url, timeout=_PATIENCE) as client:
        for number in range(swaps):
            version = versions[number % len(versions)].name
            begun = time.monotonic()
            client.put(f"/models/{NAME}/target", json={"target": version}).raise_for_status()
            result.seconds.append(time.monotonic() - begun)
            _use(service, pictures)
            _wait_for_the_end_of_others(client, version)
            resident, proportional = memory(pid)
            result.resident.append(resident)
            if proportional is not None:
                result.proportional.append(proportional)
            tell(f"swap {number + 1} of {swaps}")
    return result


def _use(service: Service, pictures: Sequence[bytes]) -> None:
    host, port = service.address
    requests = [request(host, port, one, f"/predict?model={NAME}") for one in pictures]
    until = time.monotonic() + _BUSY_SECONDS
    LoadGenerator((host, port), requests, 4).run(lambda: time.monotonic() >= until)


def _wait_for_the_end_of_others(client: httpx.Client, version: str) -> None:
    """Return when every other version is closed."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        found = client.get(f"/models/{NAME}").raise_for_status().json()
        states = {each["version"]: each["state"] for each in found["versions"]}
        if states.pop(version) == "serving" and set(states.values()) <= {"available"}:
            return
        time.sleep(0.02)
    raise RuntimeError(f"the versions of {NAME} do not come to rest: {states}")
