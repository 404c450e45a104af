"""The Open Inference Protocol over a world of fakes."""

from __future__ import annotations

from typing import Any

from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.parts import ProtocolParts
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from tests.hotswap.world import LiveWorld


def protocol_of(world: LiveWorld, refuse: Any = None) -> ProtocolParts:
    """What a wire calls in that world."""
    return ProtocolParts(
        data_plane=world.data_plane,
        inference=Inference(world.data_plane),
        models=Models(world.data_plane, "0"),
        repository=Repository(world.control, world.reconciler.view, 30.0),
        statistics=Statistics(list, world.reconciler.view),
        refused=refuse,
        check_room=lambda: None,
        not_ready=lambda: None,
        max_body_bytes=2_000_000,
    )
