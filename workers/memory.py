"""What memory there is for the service, and what a process takes of it."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
#: Limits of a control group that stand for none.
_NO_LIMIT = 1 << 60


def usable_memory() -> int:
    """Bytes that the service may use now: what is available, within the limit of its container."""
    available: int = psutil.virtual_memory().available
    limit = container_limit()
    return available if limit is None else min(available, limit)


def container_limit(root: Path = _CGROUP) -> int | None:
    """The limit of the control group in bytes; None where there is none.

    Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max),
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.limit_in_bytes).
    """
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        try:
            limit = int(path.read_text())
        except (OSError, ValueError):  # "max": no limit
            continue
        return limit if limit < _NO_LIMIT else None
    return None


def proportional_size() -> int | None:
    """Bytes of memory of this process, its part of what it shares (PSS); None where that is not told."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
