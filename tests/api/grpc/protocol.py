"""The parts of a service over a world of fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.access.guard import AccessGuard
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from api.parts import ServiceParts
from hotswap.errors import ServingError
from hotswap.events import Observer, Recorder
from registry.verdict_files import VerdictFiles
from tests.hotswap.world import LiveWorld

Refuse = Callable[[str, str | None, ServingError, float], None]


class Refusals(Observer):
    """Hands every refused inference to a function."""

    def __init__(self, refuse: Refuse | None) -> None:
        self._refuse = refuse

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """See `Observer`."""
        if self._refuse is not None:
            self._refuse(request_id, model, error, seconds)


def recorder_of(refuse: Refuse | None) -> Recorder:
    """A recorder whose refusals go to `refuse`."""
    return Recorder(Refusals(refuse))


class NoMetrics:
    """Counts nothing."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """Do nothing."""

    def exposition(self) -> bytes:
        """No metrics."""
        return b""


def parts_of(world: LiveWorld, seconds: float = 30.0, refuse: Refuse | None = None) -> ServiceParts:
    """What a wire calls in that world."""
    view = world.reconciler.view
    return service_parts(
        view=view,
        schedule=world.reconciler.schedule,
        control=world.control,
        data_plane=world.data_plane,
        recorder=recorder_of(refuse),
        inference=Inference(world.data_plane),
        models=Models(world.data_plane, "0"),
        repository=Repository(world.control, view, 30.0),
        statistics=Statistics(list, view),
        request_timeout=seconds,
    )


def service_parts(**parts: Any) -> ServiceParts:
    """These parts, the others those of a service that is ready and open to all; what is left out is None."""
    names = ServiceParts.__dataclass_fields__
    others = {
        "metrics": NoMetrics(),
        "auth": AccessGuard(AdminAuth(None, exposed=False, insecure=False)),
        "bodies": ByteBudget(100_000_000),
        "verdicts": VerdictFiles(Path("a home that is not there")),
        "check_room": lambda: None,
        "not_ready": lambda: None,
        "max_body_bytes": 2_000_000,
        "max_stream_message_bytes": 2_000_000,
        "request_timeout": 30.0,
        "swap_timeout": 30.0,
    }
    return ServiceParts(**{**dict.fromkeys(names), **others, **parts})
