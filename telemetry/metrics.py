"""Every metric that the service offers, declared with its labels; a new one is added here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from telemetry import gpus
from telemetry.modelmora_metrics import BUCKETS

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LOADS = (*_FAST, 60.0, 120.0)
_AGES = (0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
#: With those of ModelMora, whose figures are made of ours.
_INFERENCES = tuple(sorted({*_FAST, *BUCKETS}))
_PAUSES = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
_VERSION = ("model", "version")

#: Why the service closes a connection, by what its client did not send or take.
CLOSED_CONNECTIONS = ("handshake", "headers", "body", "answer", "room", "spread")


class MetricDefinitions:
    """Every metric as an attribute, all in one registry; `Metrics` increments them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        # Of several workers: the sum of those that live, the greatest, or what was set last.
        gauge_sum = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        gauge_max = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        gauge_last = partial(Gauge, registry=registry, multiprocess_mode="mostrecent")

        # HTTP
        by_route = ("method", "endpoint", "status", "worker")
        self.http_requests = counter("http_requests_total", "Requests", by_route)
        self.http_seconds = histogram(
            "http_request_duration_seconds", "Whole requests", ("endpoint",), buckets=_FAST
        )
        self.http_connections = gauge_sum("http_connections", "Open connections")
        closed = "Connections that the service closed"
        self.http_connections_closed = counter("http_connections_closed_total", closed, ("reason",))
        for reason in CLOSED_CONNECTIONS:  # each is there from the beginning, at 0
            self.http_connections_closed.labels(reason)

        # gRPC
        self.grpc_requests = counter("grpc_requests_total", "Calls", ("method", "code", "worker"))
        self.grpc_seconds = histogram(
            "grpc_request_duration_seconds", "Whole calls", ("method",), buckets=_FAST
        )

        # Inference
        answers = "Predictions by the version that served"
        self.inferences = counter("inference_requests_total", answers, (*_VERSION, "status"))
        runs = "Model runs, without decoding and queueing"
        self.inference_seconds = histogram("inference_duration_seconds", runs, _VERSION, buckets=_INFERENCES)
        where = "Where the time of predictions went"
        self.stages = counter("inference_stage_seconds_total", where, (*_VERSION, "stage"))
        self.last = gauge_max("inference_last_timestamp_seconds", "When a version last answered", _VERSION)
        self.detections = histogram(
            "detections_per_image", "Found in one picture", ("model",), buckets=_COUNTS
        )

        # Loading and swapping
        self.load_time = gauge_last("model_load_time_seconds", "The last load of a version", _VERSION)
        loads = "Verifying, loading, warming and checking one version"
        self.load_seconds = histogram("model_load_duration_seconds", loads, ("model",), buckets=_LOADS)
        self.load_failures = counter("model_load_failures_total", "Versions refused", ("model",))
        self.swaps = counter("model_swaps_total", "Publications", ("model",))
        self.taken_back = counter("model_taken_back_total", "Switches back by the guard", ("model",))
        pauses = "Requests to a worker could not begin while it switched"
        self.swap_pause = histogram("model_swap_pause_seconds", pauses, ("model",), buckets=_PAUSES)
        self.closed_generations = counter("model_generations_closed_total", "Versions freed", ("model",))
        serving = "Number of the generation that serves"
        self.generation = gauge_max("model_generation", serving, ("model",))
        states = "Generations by state, over all workers"
        self.generations = gauge_sum("model_generations", states, ("model", "state"))
        leases = "Requests that hold a generation, sampled at every look"
        self.leases = gauge_sum("model_leases", leases, ("model",))

        moved = "Graphs that run on the CPU instead of their device"
        self.device_fallbacks = counter("device_fallbacks_total", moved, ("model", "device", "cause"))

        self._declare_memory(counter, histogram, gauge_max)
        self._declare_pictures(counter, gauge_last)

        sent = "Events of models, by whether a broker took them"
        self.model_events = counter("model_events_total", sent, ("topic", "outcome"))

        # Registry
        away = "1 while the registry cannot be used and its last content holds"
        self.registry_unavailable = gauge_max("registry_unavailable", away)

    def _declare_memory(
        self, counter: partial[Counter], histogram: partial[Histogram], gauge_max: partial[Gauge]
    ) -> None:
        """Models that come into memory and leave it."""
        left = "Versions that left memory to make room"
        self.evictions = counter("model_evictions_total", left, ("model",))
        idle = "Time for which an evicted version had not been used, in seconds"
        self.eviction_age = histogram("model_eviction_age_seconds", idle, ("model",), buckets=_AGES)
        waited = "Time that a request waited for a model that was not in memory, in seconds"
        self.load_wait = histogram("model_load_wait_seconds", waited, ("model",), buckets=_LOADS)
        held = "Memory of the loaded versions of a model, in all workers"
        self.model_memory = gauge_max("model_memory_bytes", held, ("model",))
        budget = "What the loaded versions of all models may take, in all workers"
        self.memory_budget = gauge_max("model_memory_budget_bytes", budget)
        opened = "Graphs that were opened, by whether their compiled form served"
        self.compiled_loads = counter("compiled_loads_total", opened, ("model", "outcome"))

    def _declare_pictures(self, counter: partial[Counter], gauge_last: partial[Gauge]) -> None:
        """Pictures of devices."""
        kept = "Pictures of devices that were kept with their answers"
        self.images_stored = counter("images_stored_total", kept, ("device_id",))
        self.storage_bytes = gauge_last("storage_bytes_total", "Bytes of all stored pictures")
        self.storage_used = gauge_last("storage_used_bytes", "The same, by the name that fits the limit")
        self.storage_limit = gauge_last("storage_limit_bytes", "The limit of the storage")
        over = "1 over the warning threshold, or when a local disk is nearly full"
        self.storage_warning = gauge_last("storage_over_warning", over)
        self.outbox_pictures = gauge_last("outbox_pictures", "Pictures that wait to be stored")
        oldest = "For how long the oldest picture in the outbox has waited"
        self.outbox_age = gauge_last("outbox_age_seconds", oldest)
        self.picture_commits = counter("picture_commits_total", "Commits of the picture store")
        self.committed_pictures = counter("committed_pictures_total", "Pictures in those commits")


class Machine(Collector):
    """The machine's memory and that of its GPUs, and the versions of what runs: `info` by label."""

    def __init__(
        self, info: dict[str, str], gpu_memory: Callable[[], Mapping[str, int]] = gpus.used_bytes
    ) -> None:
        self._info = info
        self._gpu_memory = gpu_memory

    def collect(self) -> Iterator[Metric]:
        """Read anew each time."""
        memory = GaugeMetricFamily("system_memory_available_bytes", "As the kernel estimates it")
        memory.add_metric([], available_bytes())
        yield memory
        if used := self._gpu_memory():
            gpu = GaugeMetricFamily("gpu_memory_bytes", "Used by all processes", labels=["device"])
            for device, amount in used.items():
                gpu.add_metric([device], amount)
            yield gpu
        info = GaugeMetricFamily("service_info", "Always 1", labels=list(self._info))
        info.add_metric(list(self._info.values()), 1)
        yield info


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory that can be used without swapping; NaN where the system does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return float("nan")
    return next(
        (float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), float("nan")
    )


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> float:
    """Memory of this process; NaN where the system does not say."""
    try:
        return float(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return float("nan")
