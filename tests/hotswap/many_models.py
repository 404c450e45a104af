"""Worlds whose memory has room for some models only: each version takes 100 MB."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hotswap.repository import VersionInfo
from hotswap.resident_models import MemoryRules
from manifest.tags import ModelTag
from residency.planner import Footprint, Policy
from tests.hotswap.served import Served

MB = 1_000_000
#: Seconds that are enough for who waits for a model to borrow it.
STAY = 0.05


def size_of(tag: ModelTag, _info: VersionInfo | None) -> Footprint:
    """100 MB; a version whose name says `large` takes 900."""
    megabytes = 900 if "large" in tag.version else 100
    return Footprint(0, megabytes * MB, megabytes * MB, load_seconds=0.1)


def room_for(
    count: int,
    *,
    workers: int = 1,
    pinned: Collection[str] = (),
    first: Collection[str] = (),
    stay: float = 0.0,
) -> MemoryRules:
    """Rules that let so many models in."""
    return MemoryRules(
        budget=count * workers * 100 * MB,
        footprint=size_of,
        workers=workers,
        policy=Policy(pinned=frozenset(pinned), minimum_stay=stay),
        first=lambda: first,
    )


class Crowded(Served):
    """A world with room for two models."""

    def __init__(
        self,
        *tags: str,
        room: int = 2,
        pinned: Collection[str] = (),
        first: Collection[str] = (),
        stay: float = 0.0,
        **more: Any,
    ) -> None:
        rules = room_for(room, pinned=pinned, first=first, stay=stay)
        super().__init__(*tags, memory=rules, **more)

    def loaded(self) -> list[str]:
        """The models that answer, by name."""
        slots = self.reconciler.observed.slots
        return sorted(name for name, slot in slots.items() if slot.current is not None)
