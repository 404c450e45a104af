"""Where metrics are incremented, and the text of `/metrics`: all workers' sums, dead ones' too."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from hotswap.errors import ServingError
from hotswap.events import LoadedVersion, Observer, Swap
from hotswap.predictions import Answer, BaseAnswer, TensorAnswer
from hotswap.runner import Fallback
from hotswap.status import StateView
from lineage.records import ImageRecord
from lineage.storage_figures import StorageFigures
from manifest.tags import ModelTag
from telemetry import logs, worker_metrics
from telemetry.metrics import Machine, MetricDefinitions
from telemetry.modelmora_metrics import ModelMoraFigures
from telemetry.routes import OTHER, route_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_MOST_VERSIONS = 200
_MOST_DEVICES = 200


class Metrics(MetricDefinitions, Observer):
    """The metrics of one worker, incremented. PROMETHEUS_MULTIPROC_DIR: in files that outlive it.

    `worker` is the number of its seat: who takes the seat of one that has ended counts on. `lives` tells
    whether a process is on a seat.
    """

    def __init__(
        self,
        folder: Path,
        info: dict[str, str],
        worker: int = 0,
        lives: Callable[[int], bool] = lambda _worker: True,
        gpu_enabled: bool = False,
    ) -> None:
        self._all_workers = worker_metrics.AllWorkers(folder, lives)
        self._worker = str(worker)
        self._info = info
        self._gpu_enabled = gpu_enabled
        self._versions: set[tuple[str, str]] = set()
        self._devices: set[str] = set()
        self._children: dict[tuple[object, ...], Any] = {}
        self._shared = worker_metrics.share(folder, worker)
        self._registry = CollectorRegistry()
        super().__init__(self._registry)

    # --- HttpObserver ----------------------------------------------------------------------------

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """One request was answered."""
        route, known = route_of(path), method if method in _METHODS else OTHER
        self._of(self.http_requests, known, route, str(status), self._worker).inc()
        self._of(self.http_seconds, route).observe(seconds)

    # --- workers.connections.Observer ------------------------------------------------------------

    def connections(self, count: int) -> None:
        """So many are open in this worker."""
        self.http_connections.set(count)

    def connection_closed(self, reason: str) -> None:
        """One was closed for its client's silence."""
        self._of(self.http_connections_closed, reason).inc()

    def event_sent(self, topic: str, arrived: bool) -> None:
        """An event for others has arrived at a broker, or is lost."""
        self._of(self.model_events, topic, "sent" if arrived else "lost").inc()

    # --- RpcObserver -----------------------------------------------------------------------------

    def called(self, method: str, code: str, seconds: float) -> None:
        """One call over gRPC has ended."""
        self._of(self.grpc_requests, method, code, self._worker).inc()
        self._of(self.grpc_seconds, method).observe(seconds)

    # --- hotswap.events.Observer ------------------------------------------------------------------

    def loaded(self, version: LoadedVersion) -> None:
        """A version is ready to serve."""
        self.load_seconds.labels(version.tag.name).observe(version.seconds)
        self._of(self.load_time, *self._labels(version.tag.name, version.tag.version)).set(version.seconds)

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:  # noqa: ARG002
        """A version was refused."""
        self.load_failures.labels(tag.name).inc()

    def published(self, swap: Swap) -> None:
        """Another version answers."""
        self.swaps.labels(swap.name).inc()
        if swap.taken_back:
            self.taken_back.labels(swap.name).inc()
        self.swap_pause.labels(swap.name).observe(swap.pause_seconds)
        self.generation.labels(swap.name).set(swap.generation)

    def closed(self, tag: ModelTag) -> None:
        """A version was freed."""
        self.closed_generations.labels(tag.name).inc()

    def fell_back(self, tag: ModelTag, fallback: Fallback) -> None:
        """A graph runs on the CPU instead of its device."""
        self.device_fallbacks.labels(tag.name, fallback.device, fallback.cause).inc()

    def opened_graph(self, model: str, outcome: str) -> None:
        """A graph was opened: compiled (`hit`), or plainly. In the thread that opened it."""
        self.compiled_loads.labels(model, outcome).inc()

    def evicted(
        self,
        tag: ModelTag,
        reason: str,  # noqa: ARG002
        bytes_freed: int,  # noqa: ARG002
        idle_seconds: float,
    ) -> None:
        """A version has left memory."""
        self.evictions.labels(tag.name).inc()
        self.eviction_age.labels(tag.name).observe(idle_seconds)

    def awaited(self, model: str, seconds: float) -> None:
        """A request has waited for its model."""
        self._of(self.load_wait, model).observe(seconds)

    # --- the data plane --------------------------------------------------------------------------

    def count_answer(self, answer: BaseAnswer) -> None:
        """A version answered."""
        model, version = self._labels(answer.model, answer.version)
        self._of(self.inferences, model, version, "ok").inc()
        self._of(self.inference_seconds, model, version).observe(answer.stages.inference / 1e3)
        self._of(self.last, model, version).set(time.time())
        for stage, milliseconds in _stages(answer):
            self._of(self.stages, model, version, stage).inc(milliseconds / 1e3)
        for prediction in answer.predictions if isinstance(answer, Answer) else ():
            self._of(self.detections, model).observe(len(prediction.detections))

    def count_refusal(self, model: str | None, code: str, seconds: float = 0.0) -> None:
        """A prediction was not made, known after `seconds`; `model` is one that exists, or None."""
        self.inferences.labels(model or "none", "none", code).inc()
        self.stages.labels(model or "none", "none", "refused").inc(seconds)

    def stored(self, record: ImageRecord) -> None:
        """A picture of a device and its answer are kept."""
        device = record.capture.device_id
        if device not in self._devices and len(self._devices) >= _MOST_DEVICES:
            device = OTHER
        self._devices.add(device)
        self._of(self.images_stored, device).inc()
        logs.stored(record)

    def committed(self, pictures: int) -> None:
        """So many pictures were committed as one."""
        self.picture_commits.inc()
        self.committed_pictures.inc(pictures)

    def storage(self, use: StorageFigures) -> None:
        """What is stored, and what waits to be."""
        self.storage_bytes.set(use.used)
        self.storage_used.set(use.used)
        self.storage_limit.set(use.limit)
        self.storage_warning.set(use.is_over_warning)
        self.outbox_pictures.set(use.waiting)
        self.outbox_age.set(use.oldest_seconds)

    def _of(self, metric: Counter | Gauge | Histogram, *labels: str) -> Any:
        """The metric's child with these labels, which the library would look up slowly every time."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def _labels(self, model: str, version: str) -> tuple[str, str]:
        pair = (model, version)
        if pair in self._versions:
            return pair
        if len(self._versions) >= _MOST_VERSIONS:
            return model, OTHER
        self._versions.add(pair)
        return pair

    def sample(self, view: StateView) -> None:
        """Note what can only be seen by looking."""
        for name, slot in view.slots().items():
            generations = list(slot)
            self.leases.labels(name).set(sum(each.leases for each in generations))
            self.model_memory.labels(name).set(view.residence(name).memory_bytes)
            for state in ("prepared", "serving", "kept", "draining"):
                count = sum(1 for each in generations if each.state == state)
                self.generations.labels(name, state).set(count)

    # --- exposition ------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """All workers' figures in Prometheus' text format."""
        ours = [*self.families(), *Machine(self._info).collect()]
        gathered = CollectorRegistry()
        gathered.register(ModelMoraFigures(ours, self._info, gpu_enabled=self._gpu_enabled))
        return generate_latest(gathered)

    def families(self) -> list[Metric]:
        """All workers' figures, as data."""
        return list(self._all_workers.collect() if self._shared else self._registry.collect())


def _stages(answer: BaseAnswer) -> tuple[tuple[str, float], ...]:
    """Milliseconds by stage; the model run has a figure of its own."""
    stages = answer.stages
    return (
        ("queue", answer.queue_ms),
        ("input", stages.decode + stages.preprocess),
        ("output", stages.postprocess),
        ("total", answer.total_ms),
    )


class InferenceObserver(Observer):
    """Counts and logs what became of every inference of this worker."""

    def __init__(self, metrics: Metrics, view: StateView) -> None:
        self._metrics = metrics
        self._view = view

    def predicted(self, answer: Answer | TensorAnswer) -> None:
        """Pictures or tensors were answered."""
        self._metrics.count_answer(answer)
        if isinstance(answer, Answer):
            logs.answered(answer)
        else:
            logs.inferred(answer)

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """An inference was not answered."""
        known = model if model is not None and self._view.known(model) else None
        self._metrics.count_refusal(known, error.code, seconds)
        logs.refused(request_id, known, error.code, error.message)
