"""The plan: desired against actual state, as a list of loads and unloads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """What is wanted of one model now.

    `version` is what the target means (None: no version now), `last_good` what served last. `candidate` is to
    answer a `share` of the requests beside it.
    """

    name: str
    version: str | None
    last_good: str | None = None
    candidate: str | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Actual:
    """What one slot does now. `waiting` are versions that failed and are not to be tried yet.

    `prepared` is loaded and waits for the other workers, `candidate` answers beside `serving`; `aside` waits
    for a candidate.
    """

    serving: str | None = None
    loading: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    prepared: str | None = None
    candidate: str | None = None
    aside: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Load a version beside what serves."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Serve no version of this model."""

    name: str


Action = Load | Unload


def want(name: str, version: str | None, last_good: str | None, *, refused: bool) -> Want:
    """What is wanted of a model: `version`, what the workers decided or the target means; but what served
    last where that is still in the store, no version answers and another worker refuses `version`.
    """
    return Want(name, last_good if refused and last_good is not None else version, last_good)


def plan(wants: Iterable[Want], actual: Mapping[str, Actual]) -> list[Action]:
    """Say what to do. A model that is wanted is never unloaded, whatever its store looks like."""
    wants = list(wants)
    actions: list[Action] = []
    for want in wants:
        version = next_version(want, actual.get(want.name, Actual()))
        if version is not None:
            actions.append(Load(want.name, version))
    wanted = {want.name for want in wants}
    actions += [Unload(name) for name, slot in actual.items() if name not in wanted and slot.serving]
    return actions


def next_version(want: Want, slot: Actual) -> str | None:
    """The version to load now: the target's, else for an empty slot what served last."""
    if slot.loading:
        return None
    busy = slot.waiting | {slot.serving, slot.prepared, slot.candidate, slot.aside}
    if want.version is not None and want.version not in busy:
        return want.version
    if want.candidate is not None and want.candidate not in busy and want.version in _ready(slot):
        return want.candidate
    if slot.serving is slot.prepared is slot.aside is None and want.last_good not in busy:
        return want.last_good
    return None


def may_publish(version: str, want: Want | None, slot: Actual) -> bool:
    """Whether a version that has just been loaded is still wanted."""
    if want is None:
        return False
    if version == want.version or (slot.serving is None and version == want.last_good):
        return True
    return version == want.candidate and want.version in _ready(slot)


def _ready(slot: Actual) -> set[str]:
    """The versions beside which a candidate may come."""
    return {each for each in (slot.serving, slot.aside) if each is not None}
