"""Templates of routes: bounded labels, whatever paths clients ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

OTHER = "other"
_HEALTH = ("/livez", "/readyz", "/healthz", "/metrics")
_PAGES = ("/", "/redoc", "/docs.json", "/schema.json")
_PROTOCOL = (
    "/v1/models",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/stats",
    "/v2/repository/index",
)
_FIXED = frozenset(
    {
        "/predict",
        "/predict/annotated",
        "/models",
        "/api/v1/reload",
        "/api/v1/audit",
        *_HEALTH,
        *_PAGES,
        *_PROTOCOL,
    }
)
_REGISTRY = (
    ("", ""),
    ("/[^/]+/history", "/{name}/history"),
    ("/[^/]+/rollback", "/{name}/rollback"),
    ("/[^/]+/aliases/[^/]+", "/{name}/aliases/{alias}"),
    ("/[^/]+/[^/]+", "/{name}/{version}"),
    ("/[^/]+/[^/]+/activate", "/{name}/{version}/activate"),
    ("/[^/]+/[^/]+/archive", "/{name}/{version}/archive"),
)
_ROUTES = (
    (re.compile(r"/v2/models/[^/]+"), "/v2/models/{name}"),
    (re.compile(r"/v2/models/[^/]+/versions/[^/]+"), "/v2/models/{name}/versions/{version}"),
    *(
        (re.compile(rf"/v2/models/[^/]+(/versions/[^/]+)?/{what}"), f"/v2/models/{{name}}/{what}")
        for what in ("infer", "ready", "config", "stats")
    ),
    (re.compile(r"/v1/models/[^/]+(/versions/[^/]+)?:predict"), "/v1/models/{name}:predict"),
    (re.compile(r"/v1/models/[^/]+(/versions/[^/]+)?"), "/v1/models/{name}"),
    (re.compile(r"/v2/repository/models/[^/]+/load"), "/v2/repository/models/{name}/load"),
    (re.compile(r"/v2/repository/models/[^/]+/unload"), "/v2/repository/models/{name}/unload"),
    (re.compile(r"/models/[^/]+"), "/models/{name}"),
    (re.compile(r"/models/[^/]+/target"), "/models/{name}/target"),
    *(
        (re.compile(f"/api/v1/registry/models{path}"), f"/api/v1/registry/models{name}")
        for path, name in _REGISTRY
    ),
    (re.compile(r"/static_content/.*"), "/static_content"),
    (re.compile(r"/documentation/.*"), "/documentation"),
)


def route_of(path: str) -> str:
    """The route's template; with a version or without, an action of the protocol is one route."""
    if path in _FIXED:
        return path
    return next((name for pattern, name in _ROUTES if pattern.fullmatch(path)), OTHER)


class Machine(Collector):
    """The machine's memory, and the versions of what runs: `info` by label."""

    def __init__(self, info: dict[str, str]) -> None:
        self._info = info

    def collect(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily("system_memory_available_bytes", "As the kernel estimates it")
        memory.add_metric([], available_bytes())
        yield memory
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


_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PAUSES = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

#: Why the service closes a connection, by what its client did not send or take.
CLOSED_CONNECTIONS = ("handshake", "headers", "body", "answer", "room")


class Figures:
    """Every figure by a name of its own, all in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.http_requests = Counter(
            "http_requests_total", "Requests", ("method", "endpoint", "status", "worker"), registry=registry
        )
        self.http_seconds = Histogram(
            "http_request_duration_seconds", "Whole requests", ("endpoint",), buckets=_FAST, registry=registry
        )
        self.registry_unavailable = Gauge(
            "registry_unavailable",
            "1 while the registry cannot be used and its last content holds",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.http_connections = Gauge(
            "http_connections", "Open connections", registry=registry, multiprocess_mode="livesum"
        )
        self.http_connections_closed = Counter(
            "http_connections_closed_total",
            "Connections that were closed because their clients were silent",
            ("reason",),
            registry=registry,
        )
        for reason in CLOSED_CONNECTIONS:  # each is there from the beginning, at 0
            self.http_connections_closed.labels(reason)
        self.grpc_requests = Counter(
            "grpc_requests_total", "Calls", ("method", "code", "worker"), registry=registry
        )
        self.grpc_seconds = Histogram(
            "grpc_request_duration_seconds", "Whole calls", ("method",), buckets=_FAST, registry=registry
        )
        self.inferences = Counter(
            "inference_requests_total",
            "Predictions by the version that served",
            ("model", "version", "status"),
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "inference_duration_seconds",
            "Model runs, without decoding and queueing",
            ("model", "version"),
            buckets=_FAST,
            registry=registry,
        )
        self.stages = Counter(
            "inference_stage_seconds_total",
            "Where the time of predictions went",
            ("model", "version", "stage"),
            registry=registry,
        )
        self.last = Gauge(
            "inference_last_timestamp_seconds",
            "When a version last answered",
            ("model", "version"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.detections = Histogram(
            "detections_per_image",
            "Found in one picture",
            ("model",),
            buckets=(0, 1, 2, 5, 10, 20, 50, 100),
            registry=registry,
        )
        self.load_time = Gauge(
            "model_load_time_seconds",
            "The last load of a version",
            ("model", "version"),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.load_seconds = Histogram(
            "model_load_duration_seconds",
            "Verifying, loading, warming and checking one version",
            ("model",),
            buckets=(*_FAST, 60.0, 120.0),
            registry=registry,
        )
        self.load_failures = Counter(
            "model_load_failures_total", "Versions refused", ("model",), registry=registry
        )
        self.swaps = Counter("model_swaps_total", "Publications", ("model",), registry=registry)
        self.swap_pause = Histogram(
            "model_swap_pause_seconds",
            "Requests to a worker could not begin while it switched",
            ("model",),
            buckets=_PAUSES,
            registry=registry,
        )
        self.closed_generations = Counter(
            "model_generations_closed_total", "Versions freed", ("model",), registry=registry
        )
        self.generation = Gauge(
            "model_generation",
            "Number of the generation that serves",
            ("model",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.generations = Gauge(
            "model_generations",
            "Generations by state, over all workers",
            ("model", "state"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.leases = Gauge(
            "model_leases",
            "Requests that hold a generation, sampled at every look",
            ("model",),
            registry=registry,
            multiprocess_mode="livesum",
        )
