"""Which figures a worker has: names, labels and buckets, as docs/08 lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PAUSES = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class Figures:
    """Every figure by a name of its own, all in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.http_requests = Counter(
            "http_requests_total", "Requests", ("method", "route", "status", "worker"), registry=registry
        )
        self.http_seconds = Histogram(
            "http_request_duration_seconds", "Whole requests", ("route",), buckets=_FAST, registry=registry
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
        self.load_seconds = Histogram(
            "model_load_time_seconds",
            "Settling, loading, warming and checking one version",
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
