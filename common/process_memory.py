"""The memory of this process, as Linux counts it: its own pages, and those that it shares by files."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Bytes now: `own` are anonymous pages, `resident` all, `peak` the most that ever were resident."""

    own: int
    resident: int
    peak: int

    @classmethod
    def now(cls) -> ProcessMemory:
        """Read it. Where they are not known, all three are the most that was ever resident."""
        try:
            own = _kilobytes(_PROC / "smaps_rollup")["Anonymous"]
            status = _kilobytes(_PROC / "status")
        except (OSError, KeyError):
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return cls(*[most * (1 if sys.platform == "darwin" else 1024)] * 3)
        return cls(own, status["VmRSS"], status["VmHWM"])

    def grown_since(self, before: ProcessMemory) -> ProcessMemory:
        """By how much each has grown; the peak over what was resident before."""
        return ProcessMemory(
            max(0, self.own - before.own),
            max(0, self.resident - before.resident),
            max(0, self.peak - before.resident),
        )


def proportional_size() -> int | None:
    """Bytes of this process, its part of what it shares with others (PSS); None where that is not known."""
    try:
        return _kilobytes(_PROC / "smaps_rollup").get("Pss")
    except OSError:
        return None


def mapped_bytes(folder: Path) -> int | None:
    """Bytes of the files below a folder that this process has mapped; None where that is not known."""
    try:
        lines = (_PROC / "maps").read_text().splitlines()
    except OSError:
        return None
    parts = (line.split(maxsplit=5) for line in lines)
    return sum(_length(part[0]) for part in parts if part[5:] and part[5].startswith(f"{folder}/"))


def _length(addresses: str) -> int:
    begin, _, end = addresses.partition("-")
    return int(end, 16) - int(begin, 16)


def _kilobytes(file: Path) -> dict[str, int]:
    """The values in bytes of lines such as `VmRSS: 12 kB`."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) == 3 and line[2] == "kB"}
