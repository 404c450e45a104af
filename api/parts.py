"""The parts that every wire uses: one object, built once, at the start of the worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from api.access.guard import AccessGuard
from api.budget import ByteBudget
from api.detection_parts import GetDetection
from api.object_source import ObjectSource
from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from api.service_health import ServiceHealth
from hotswap.control import Control
from hotswap.dataplane import DataPlane
from hotswap.events import Recorder
from hotswap.schedule import Schedule
from hotswap.status import StateView
from manifest.teams import Team
from registry.audit import AuditStore
from registry.comparison_pages import ComparisonPages
from registry.model_registry import ModelRegistry
from registry.promotion import Promotions
from registry.registration import Registrations
from registry.verdict_files import VerdictFiles


class WireMetrics(Protocol):
    """The metrics for the wires."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """Count one finished gRPC call."""
        ...

    def exposition(self) -> bytes:
        """The text for Prometheus, over all workers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """The parts of one worker. Times are in seconds, sizes in bytes.

    `recorder` records the outcome of each inference. `check_room` raises `Overloaded` before a body is
    read. `not_ready` returns why a required model has no serving version, None when all have one. `bodies`
    bounds the bytes of requests in memory.
    """

    view: StateView
    schedule: Schedule
    control: Control
    registry: ModelRegistry
    promotions: Promotions
    registrations: Registrations
    audit: AuditStore
    verdicts: VerdictFiles
    comparisons: ComparisonPages
    data_plane: DataPlane
    recorder: Recorder
    metrics: WireMetrics
    auth: AccessGuard
    health: ServiceHealth
    bodies: ByteBudget
    inference: Inference
    detection: GetDetection
    models: Models
    repository: Repository
    statistics: Statistics
    objects: ObjectSource
    team: Team | None
    check_room: Callable[[], None]
    not_ready: Callable[[], str | None]
    max_body_bytes: int
    max_stream_message_bytes: int
    request_timeout: float
    swap_timeout: float


#: Routes are built before the worker starts, so each request calls it.
GetParts = Callable[[], ServiceParts]
