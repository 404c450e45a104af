"""What is asked, which version answers, and how fast."""

from __future__ import annotations

from scripts.dashboards.expressions import (
    ALERTS,
    INSTANCES,
    MODEL,
    MODELS,
    SWAPS,
    gauge,
    mean,
    quantile,
    rate,
    recorded,
)
from scripts.dashboards.grafana import Dashboard, Panel, Row

_INFERENCES = "inference_requests_total"
_ANSWERED = f'{MODEL}, status="ok"'
_STAGES = f'{MODEL}, stage=~"queue|input|output"'


def _figure(title: str, description: str, expression: str, unit: str, limit: float | None = None) -> Panel:
    """One number of each service; six stand in a line."""
    return Panel(title, description, {"{{instance}}": expression}, unit, "stat", 4, 4, limit)


_NOW = Row(
    "Now",
    [
        _figure("Service up", "1 where the last scrape worked.", gauge("sum", "up", "instance"), "count"),
        _figure("HTTP requests", "Of all routes.", recorded("instance:http_requests:rate5m"), "1/s"),
        _figure(
            "HTTP failures",
            "Share answered with 5xx, health pages apart. Alert: OkawariHttpErrors.",
            recorded("instance:http_requests_failed:ratio_rate5m"),
            "share",
            0.05,
        ),
        _figure(
            "gRPC failures",
            "Share that failed by the service. Alert: OkawariGrpcErrors.",
            recorded("instance:grpc_requests_failed:ratio_rate5m"),
            "share",
            0.05,
        ),
        _figure(
            "Overload",
            "Share of the predictions that found no room. Alert: OkawariOverloaded.",
            recorded("instance:inference_requests_overloaded:ratio_rate5m"),
            "share",
            0.01,
        ),
        _figure("Connections", "Open over HTTP.", gauge("sum", "http_connections", "instance"), "count"),
    ],
)

_VERSIONS = Row(
    "Versions",
    [
        Panel(
            "Answers by version",
            "Predictions by the version that made them. A swap moves all traffic at once.",
            {"{{model}}:{{version}}": rate(_INFERENCES, "model, version", _ANSWERED)},
            "1/s",
            stacked=True,
        ),
        Panel(
            "Refusals by code",
            "Predictions that were not made, by the code of chapter 8.",
            {"{{model}} {{status}}": rate(_INFERENCES, "model, status", f'{MODEL}, status!="ok"')},
            "1/s",
        ),
        Panel(
            "Model run",
            "The model's run alone, without decoding and queueing.",
            {
                "{{model}}:{{version}} p50": quantile(
                    0.5, "inference_duration_seconds", "model, version", MODEL
                ),
                "{{model}}:{{version}} p95": quantile(
                    0.95, "inference_duration_seconds", "model, version", MODEL
                ),
            },
            "seconds",
        ),
        Panel(
            "Where the time goes",
            "Of a prediction, beside the run: waiting for a thread (queue), decoding and pre-processing "
            "(input), post-processing (output).",
            {
                "{{stage}}": rate("inference_stage_seconds_total", "stage", _STAGES)
                + f" / on () group_left () ({rate(_INFERENCES, '', _ANSWERED)} > 0)"
            },
            "seconds",
            stacked=True,
        ),
        Panel(
            "Failures by model",
            "Share that failed by the model or the service, not by senders. Alert: OkawariModelErrors.",
            {
                "{{instance}} {{model}}": recorded(
                    "instance_model:inference_requests_failed:ratio_rate5m", MODEL
                )
            },
            "share",
            limit=0.05,
        ),
        Panel(
            "Time since the last answer",
            "It grows for versions that serve no longer.",
            {
                "{{model}}:{{version}}": "time() - "
                + gauge("max", "inference_last_timestamp_seconds", "model, version", MODEL)
            },
            "seconds",
        ),
        Panel(
            "Detections per picture",
            "The mean of each model. After a jump at a swap, look at pictures.",
            {"{{model}}": mean("detections_per_image", "model", MODEL)},
            width=24,
        ),
    ],
)

_WIRES = Row(
    "Wires",
    [
        Panel(
            "HTTP by route",
            "By the route's template; unknown paths are `other`.",
            {"{{endpoint}}": rate("http_requests_total", "endpoint")},
            "1/s",
        ),
        Panel(
            "HTTP by status",
            "499: the client left.",
            {"{{status}}": rate("http_requests_total", "status")},
            "1/s",
            stacked=True,
        ),
        Panel(
            "HTTP latency",
            "95th percentile of the routes that ask a model, over 5 minutes. Alert: OkawariSlow.",
            {
                "{{instance}} {{endpoint}}": recorded(
                    "instance_endpoint:http_request_duration_seconds:p95_rate5m"
                )
            },
            "seconds",
            limit=1,
        ),
        Panel(
            "gRPC latency",
            "95th percentile of the calls with one answer, over 5 minutes. Alert: OkawariSlow.",
            {"{{instance}} {{method}}": recorded("instance_method:grpc_request_duration_seconds:p95_rate5m")},
            "seconds",
            limit=1,
        ),
        Panel(
            "gRPC by status",
            "Calls by method and code.",
            {"{{method}} {{code}}": rate("grpc_requests_total", "method, code")},
            "1/s",
        ),
        Panel(
            "Closed connections",
            "By what their clients did not send or take; `room`: closed for others. "
            "Alert: OkawariConnectionsShort.",
            {"{{reason}}": rate("http_connections_closed_total", "reason")},
            "per second",
        ),
        Panel(
            "Requests by worker",
            "Whether the workers share the load.",
            {"{{instance}} {{worker}}": rate("http_requests_total", "instance, worker")},
            "1/s",
            stacked=True,
            width=24,
        ),
    ],
)

DASHBOARD = Dashboard(
    "traffic",
    "Okawari: traffic by version",
    "What is asked, which version answers, and how fast. Blue lines are swaps, red ones alerts.",
    [_NOW, _VERSIONS, _WIRES],
    [INSTANCES, MODELS],
    [SWAPS, ALERTS],
)
