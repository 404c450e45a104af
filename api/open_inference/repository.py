"""The repository extension of the Open Inference Protocol: what there is, load, unload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hotswap.control import Control
from hotswap.errors import BadRequest, DeadlineExceeded
from hotswap.generation import State
from hotswap.status import ModelStatus, StateView, VersionStatus

READY, UNAVAILABLE, LOADING, UNLOADING = "READY", "UNAVAILABLE", "LOADING", "UNLOADING"
_STATES: Mapping[str, str] = {
    State.LOADING: LOADING,
    State.WARMING: LOADING,
    State.CHECKING: LOADING,
    State.PREPARED: LOADING,
    State.SERVING: READY,
    State.DRAINING: UNLOADING,
}
_REFUSED = (
    "is not taken: a version is served with the files it was imported with; import another one and let the "
    "model follow it"
)


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """One version of one model; `version` None where a wanted model has none. `state` is Triton's word."""

    name: str
    version: str | None
    state: str
    reason: str


class Repository:
    """The management calls of the protocol, by those of the service."""

    def __init__(self, control: Control, view: StateView, swap_timeout: float) -> None:
        self._control = control
        self._view = view
        self._seconds = swap_timeout

    async def index(self, *, ready: bool) -> list[RepositoryEntry]:
        """Every version of every model, or those alone that are ready."""
        await self._control.fresh()
        entries = [entry for each in self._view.models() for entry in self._entries(each)]
        return [entry for entry in entries if entry.state == READY or not ready]

    async def load(self, name: str, parameters: Iterable[str], actor: str) -> None:
        """Let the target of a model serve; returns when it does.

        `parameters` are the names of the call's. Raises `BadRequest` for any of them, `ModelNotFound`,
        `VersionFailed` (what served before serves on), `Superseded` (somebody wishes something else since)
        and `DeadlineExceeded` (it is loaded all the same).
        """
        for parameter in parameters:
            raise BadRequest(f"parameter {parameter[:64]!r} {_REFUSED}")
        if not await self._control.load(name, actor, self._seconds):
            raise DeadlineExceeded(f"{name} is still being loaded; /v2/repository/index tells of it")

    async def unload(self, name: str, actor: str) -> None:
        """Let nobody answer for a model; returns when nobody does.

        No model depends on another here, so there are no dependents to unload. Raises `ModelNotFound`,
        `Superseded`, `DeadlineExceeded`.
        """
        if not await self._control.unload(name, actor, self._seconds):
            raise DeadlineExceeded(f"{name} still answers; /v2/repository/index tells of it")

    def _entries(self, model: ModelStatus) -> list[RepositoryEntry]:
        wish = self._view.desired.model(model.name)
        idle = "unloaded" if wish is not None and wish.unloaded else "not loaded"
        if not model.versions:
            return [RepositoryEntry(model.name, None, UNAVAILABLE, model.reason or "it has no versions")]
        return [_entry(model.name, version, idle) for version in model.versions]


def _entry(name: str, version: VersionStatus, idle: str) -> RepositoryEntry:
    state = _STATES.get(version.state, UNAVAILABLE)
    return RepositoryEntry(
        name, version.version, state, version.reason or (idle if state == UNAVAILABLE else "")
    )
