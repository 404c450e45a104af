"""The state of one version for people and wires: one word, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from hotswap.backoff import Failure
from hotswap.generation import Generation
from hotswap.repository import VersionInfo

AVAILABLE = "available"
UNSERVABLE = "unservable"


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version: a lifecycle word, `available` or `unservable`, and why.

    `device` is where it runs, if it is loaded, with `device_reason`.
    """

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None
    device: str | None = None
    device_reason: str | None = None


@dataclass(frozen=True, slots=True)
class CanaryStatus:
    """A version that answers a share of a model's requests, 0..1, beside the target."""

    version: str
    share: float


def version_status(
    info: VersionInfo, live: Generation | None, loading: str | None, failure: Failure | None
) -> VersionStatus:
    """The status of a version: `live` where it is in memory, `loading` the state of its load."""
    state, reason = _state(info, live, loading, failure)
    artifact = live.artifact if live else None
    placement = live.placement if live else None
    digest = artifact.digest if artifact else info.digest or (failure.digest if failure else None)
    return VersionStatus(
        version=info.version,
        digest=digest,
        state=state,
        reason=reason,
        size_bytes=artifact.size_bytes if artifact else info.size_bytes,
        created=artifact.created if artifact else info.created,
        device=placement.device if placement else None,
        device_reason=placement.reason if placement else None,
    )


def without_room(versions: Iterable[VersionStatus], reasons: Mapping[str | None, str]) -> list[VersionStatus]:
    """The versions, with the reason of each for which there is no room in memory, whatever leaves."""
    return [
        replace(each, state=UNSERVABLE, reason=f"check memory: {reasons[each.version]}")
        if each.version in reasons and each.state == AVAILABLE
        else each
        for each in versions
    ]


def _state(
    info: VersionInfo, live: Generation | None, loading: str | None, failure: Failure | None
) -> tuple[str, str | None]:
    if loading is not None:
        return loading, None
    if live is not None:
        return str(live.state), _drifted(info, live)
    if failure is not None:
        return (UNSERVABLE if failure.settling or info.reason else "failed"), failure.reason
    return (UNSERVABLE, info.reason) if info.reason else (AVAILABLE, None)


def _drifted(info: VersionInfo, live: Generation) -> str | None:
    """What has happened to the files of a loaded version since; it serves on what it loaded."""
    if info.created is None and info.size_bytes == 0 and info.digest is None:
        return info.reason or "its files are gone from the store; it serves on what it has loaded"
    if info.digest is not None and info.digest != live.artifact.digest:
        return "the store holds other files under this tag; it serves on what it has loaded"
    return info.reason
