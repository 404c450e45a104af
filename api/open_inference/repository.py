"""The model repository extension of the Open Inference Protocol: index, load, unload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hotswap.control import Control
from hotswap.errors import BadRequest, DeadlineExceeded
from hotswap.generation import State
from hotswap.status import ModelStatus, StateView
from hotswap.version_status import VersionStatus

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
    "is not supported: a version is served with its imported files; import another version and set the "
    "model's target to it"
)


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """One version of a model; `version` is None for a model without versions. `state` is Triton's."""

    name: str
    version: str | None
    state: str
    reason: str


class Repository:
    """The management calls of the protocol, implemented by those of the service."""

    def __init__(self, control: Control, view: StateView, swap_timeout: float) -> None:
        self._control = control
        self._view = view
        self._seconds = swap_timeout

    async def index(self, *, ready: bool) -> list[RepositoryEntry]:
        """Every version of every model; with `ready` only those that are ready."""
        await self._control.fresh()
        entries = [entry for model in self._view.models() for entry in self._entries(model)]
        return [entry for entry in entries if entry.state == READY or not ready]

    async def load(self, name: str, parameters: Iterable[str], actor: str) -> None:
        """Load the target of a model; returns when it is serving.

        Raises `BadRequest` for any of the call's `parameters`, `ModelNotFound`, `VersionFailed` (the previous
        version keeps serving), `Superseded` (by a later change) and `DeadlineExceeded` (loading continues).
        """
        for parameter in parameters:
            raise BadRequest(f"parameter {parameter[:64]!r} {_REFUSED}")
        if not await self._control.load(name, actor, self._seconds):
            raise DeadlineExceeded(f"{name} is still loading; see /v2/repository/index")

    async def unload(self, name: str, actor: str) -> None:
        """Unload a model; returns when no version of it is serving.

        Models have no dependents, so there are none to unload. Raises `ModelNotFound`,
        `Superseded`, `DeadlineExceeded`.
        """
        if not await self._control.unload(name, actor, self._seconds):
            raise DeadlineExceeded(f"{name} is still serving; see /v2/repository/index")

    def _entries(self, model: ModelStatus) -> list[RepositoryEntry]:
        desired = self._view.desired.model(model.name)
        idle = "unloaded" if desired is not None and desired.unloaded else "not loaded"
        if not model.versions:
            return [RepositoryEntry(model.name, None, UNAVAILABLE, model.reason or "it has no versions")]
        brought = self._view.version_to_bring(model.name) if self._view.servable(model.name) else None
        return [
            RepositoryEntry(model.name, brought, READY, "not in memory: it is loaded when it is asked for")
            if version.version == brought
            else _entry(model.name, version, idle)
            for version in model.versions
        ]


def _entry(name: str, version: VersionStatus, idle: str) -> RepositoryEntry:
    state = _STATES.get(version.state, UNAVAILABLE)
    return RepositoryEntry(
        name, version.version, state, version.reason or (idle if state == UNAVAILABLE else "")
    )
