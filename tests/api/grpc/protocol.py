"""The Open Inference Protocol over a world of fakes."""

from __future__ import annotations

from collections.abc import Callable

from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.parts import ProtocolParts
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from hotswap.errors import ServingError
from hotswap.events import Observer, Recorder
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


def protocol_of(world: LiveWorld, refuse: Refuse | None = None) -> ProtocolParts:
    """What a wire calls in that world."""
    return ProtocolParts(
        data_plane=world.data_plane,
        inference=Inference(world.data_plane),
        models=Models(world.data_plane, "0"),
        repository=Repository(world.control, world.reconciler.view, 30.0),
        statistics=Statistics(list, world.reconciler.view),
        recorder=recorder_of(refuse),
        check_room=lambda: None,
        not_ready=lambda: None,
        max_body_bytes=2_000_000,
    )
