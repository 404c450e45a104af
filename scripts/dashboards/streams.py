"""Streams over gRPC, messages of Kafka that a dispatcher asks about, and events that the service sends."""

from __future__ import annotations

from scripts.dashboards.expressions import ALERTS, INSTANCES, OURS, gauge, grown, mean, quantile, rate
from scripts.dashboards.grafana import Dashboard, Panel, Row

_STREAMS = f'{OURS}, method=~".*/(PredictStream|ModelStreamInfer|GenerateBatch|GenerateEmbeddingStream)"'
_DISPATCHED = f'{OURS}, endpoint="/infer_json"'

_GRPC = Row(
    "Streams over gRPC",
    [
        Panel(
            "Ended streams",
            "By method and code. A stream is counted when it ends.",
            {"{{method}} {{code}}": rate("grpc_requests_total", "method, code", _STREAMS)},
            "per second",
        ),
        Panel(
            "Duration of streams",
            "The mean of those that ended in each step.",
            {"{{method}}": mean("grpc_request_duration_seconds", "method", _STREAMS)},
            "seconds",
        ),
    ],
)

_KAFKA = Row(
    "Messages of Kafka",
    [
        Panel(
            "Requests of dispatchers",
            "POST /infer_json by status. 429 is asked again, most other 4xx become dead letters "
            "(`okawari dlq list`). Lag is Kafka's own figure.",
            {"{{status}}": rate("http_requests_total", "status", _DISPATCHED)},
            "1/s",
            stacked=True,
        ),
        Panel(
            "Duration of such a request",
            "With reading the picture from its bucket.",
            {
                f"p{100 * share:.0f}": quantile(
                    share, "http_request_duration_seconds", "endpoint", _DISPATCHED
                )
                for share in (0.5, 0.95)
            },
            "seconds",
        ),
    ],
)

_EVENTS = Row(
    "Events of models",
    [
        Panel(
            "Sent events",
            "What a broker took in each step (OKAWARI_EVENTS), by topic.",
            {"{{topic}}": grown("model_events_total", "topic", f'{OURS}, outcome="sent"')},
            stacked=True,
        ),
        Panel(
            "Lost events",
            "Since the start. Alert: OkawariEventsLost.",
            {"{{topic}}": gauge("sum", "model_events_total", "topic", f'{OURS}, outcome="lost"')},
        ),
    ],
)

DASHBOARD = Dashboard(
    "streams",
    "Okawari: streams and events",
    "Streams over gRPC, messages of Kafka, and the events that the service sends.",
    [_GRPC, _KAFKA, _EVENTS],
    [INSTANCES],
    [ALERTS],
)
