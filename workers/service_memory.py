"""The memory of the service as one worker shares it: the budget, the table, what each worker takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

from common.process_memory import proportional_size
from hotswap.repository import VersionInfo
from hotswap.resident_models import FootprintOf, MemoryRules, no_models
from hotswap.status import StateView
from manifest.profiles import Profiles, no_profiles
from manifest.tags import ModelTag
from residency.planner import Footprint, Policy
from residency.table import LocalTable, ResidencyTable
from workers.bell import Bells
from workers.membership import WorkerTable
from workers.run_folder import RunFolder
from workers.shared_residency import SharedTable

_CGROUP = Path("/sys/fs/cgroup")
#: Limits of a control group that stand for none.
_NO_LIMIT = 1 << 60
#: Seconds between two looks at what this process takes, and how many of them are compared.
_SAMPLE_SECONDS = 1.0
_SAMPLES = 5
#: What a version without measurements is taken to need, times the bytes of its files.
_RESIDENT, _PEAK = 2, 3


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


class Footprints:
    """What versions take in memory, by the best that is known of each."""

    def __init__(
        self,
        compiled: Callable[[str], Footprint | None] = lambda _digest: None,
        profiles: Profiles = no_profiles,
    ) -> None:
        """`compiled` knows what is loaded from a compiled form, by digest."""
        self._compiled = compiled
        self._profiles = profiles

    def __call__(self, tag: ModelTag, info: VersionInfo | None) -> Footprint:
        """As measured when it was compiled, or imported; else as declared, or by the size of its files."""
        if info is None:
            return Footprint(0, 0, 0)
        compiled = self._compiled(info.digest) if info.digest is not None else None
        return compiled or _measured(info) or self._guessed(tag, info)

    def _guessed(self, tag: ModelTag, info: VersionInfo) -> Footprint:
        profile = self._profiles().get(tag.name)
        if profile is not None and profile.memory_bytes:
            return Footprint(0, profile.memory_bytes, profile.memory_bytes)
        return Footprint(0, _RESIDENT * info.size_bytes, _PEAK * info.size_bytes)


def _measured(info: VersionInfo) -> Footprint | None:
    measured = info.measured
    if measured is None or not measured.resident_bytes:
        return None
    return Footprint(0, measured.resident_bytes, measured.peak_bytes, measured.load_seconds)


class ServiceMemory:
    """One worker's part. `start` and `stop` own its thread."""

    def __init__(
        self,
        run: RunFolder,
        seats: WorkerTable,
        seat: int,
        *,
        workers: int,
        budget: int,
        policy: Policy,
        footprint: FootprintOf,
        first: Callable[[], Collection[str]] = no_models,
        size: Callable[[], int | None] = proportional_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget` is in bytes; the one that the first worker gives holds for all."""
        self._bells = Bells(run.board, seats.count, seat) if workers > 1 else None
        self.table: ResidencyTable
        if self._bells is not None:
            shared = SharedTable(run.commits / ".residency", seats, seat, self._bells.ring)
            budget = shared.agreed(budget)
            self.table = shared
        else:
            self.table = LocalTable()
        self.rules = MemoryRules(
            budget=budget, footprint=footprint, workers=workers, policy=policy, first=first
        )
        self._workers = workers
        self._size = size
        self._clock = clock
        self._samples: deque[int] = deque(maxlen=_SAMPLES)
        self._due = 0.0
        self._least = 0
        self._note(0)

    @property
    def budget(self) -> int:
        """Bytes for all workers together."""
        return self.rules.budget

    def start(self, wake: Callable[[], None]) -> None:
        """Hear what the other workers change."""
        if self._bells is not None:
            self._bells.listen(wake)

    def stop(self) -> None:
        """End the thread."""
        if self._bells is not None:
            self._bells.stop()

    def sample(self, view: StateView) -> None:
        """Note what this process takes beside its models, at a moment when nothing loads or is freed.

        So what was measured at import is corrected: a model that takes more leaves less room for others.
        """
        slots = view.slots().values()
        if self._clock() < self._due or any(slot.draining for slot in slots) or view.loads:
            return
        self._due = self._clock() + _SAMPLE_SECONDS
        self._note(sum(self._part(one.tag) for slot in slots for one in slot))

    def _note(self, models: int) -> None:
        size = self._size()
        if size is None:
            return
        self._least = self._least or size
        self._samples.append(size - models)
        # Pictures come and go; what stays is in every sample.
        self.table.report_base(max(self._least, min(self._samples)), self._least)

    def _part(self, tag: ModelTag) -> int:
        """What a version takes here, its part of what the workers share."""
        entry = self.table.residents().find(tag.name, tag.version)
        return 0 if entry is None else entry.footprint.own + entry.footprint.shared // self._workers
