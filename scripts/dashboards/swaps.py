"""Whether versions load, come to serve and are freed, and what requests feel of it."""

from __future__ import annotations

from scripts.dashboards.expressions import (
    ALERTS,
    INSTANCES,
    MODEL,
    MODELS,
    SWAPS,
    gauge,
    grown,
    mean,
    rate,
    recorded,
)
from scripts.dashboards.grafana import Dashboard, Panel, Row

_GENERATIONS = Row(
    "Generations",
    [
        Panel(
            "Serving generation",
            "The number of the generation that serves; each swap adds one.",
            {"{{instance}} {{model}}": gauge("max", "model_generation", "instance, model", MODEL)},
        ),
        Panel(
            "Generations by state",
            "Over all workers. `prepared` for minutes: OkawariSwitchStuck; `draining` for minutes: "
            "OkawariGenerationLeaked.",
            {"{{model}} {{state}}": gauge("sum", "model_generations", "model, state", MODEL)},
        ),
        Panel(
            "Leases",
            "Requests that hold a generation, looked at twice a second. A leaked one never ends.",
            {"{{instance}} {{model}}": gauge("sum", "model_leases", "instance, model", MODEL)},
        ),
        Panel(
            "Published and freed",
            "Both are counted in each worker; they differ by what drains.",
            {
                "{{model}} published": grown("model_swaps_total", "model", MODEL),
                "{{model}} freed": grown("model_generations_closed_total", "model", MODEL),
            },
        ),
    ],
)

_REQUESTS = Row(
    "What requests feel",
    [
        Panel(
            "Pause of a swap",
            "How long requests to a worker could not begin; 99th percentile of an hour's swaps. "
            "Alert: OkawariSwapPauseLong.",
            {
                "{{instance}} {{model}}": recorded(
                    "instance_model:model_swap_pause_seconds:p99_increase1h", MODEL
                )
            },
            "seconds",
            limit=0.1,
        ),
        Panel(
            "HTTP failures",
            "Share answered with 5xx. A swap adds none.",
            {"{{instance}}": recorded("instance:http_requests_failed:ratio_rate5m")},
            "share",
            limit=0.05,
        ),
        Panel(
            "Requests without a serving version",
            "Refused with model_not_ready. Alert: OkawariModelNotReady.",
            {"{{model}}": rate("inference_requests_total", "model", f'{MODEL}, status="model_not_ready"')},
            "1/s",
        ),
        Panel(
            "Registry unavailable",
            "1 while it cannot be used and its last content holds. Alert: OkawariRegistryUnavailable.",
            {"{{instance}}": gauge("max", "registry_unavailable", "instance")},
            limit=1,
        ),
    ],
)

_LOADS = Row(
    "Loads",
    [
        Panel(
            "Refused versions",
            "Failed verifications, loads, warm-ups and checks, each tried again within a minute. "
            "Alert: OkawariLoadFailing.",
            {"{{model}}": grown("model_load_failures_total", "model", MODEL)},
        ),
        Panel(
            "Versions taken back",
            "By the guard, each counted in every worker. Alert: OkawariTakenBack.",
            {"{{model}}": grown("model_taken_back_total", "model", MODEL)},
        ),
        Panel(
            "Last load of each version",
            "Time to verify, load, warm and check it.",
            {"{{model}}:{{version}}": gauge("max", "model_load_time_seconds", "model, version", MODEL)},
            "seconds",
        ),
        Panel(
            "Load time",
            "The mean of the loads in each step.",
            {"{{model}}": mean("model_load_duration_seconds", "model", MODEL)},
            "seconds",
        ),
        Panel(
            "Opened graphs",
            "Since the start. `hit`: compiled form; `miss`: there was none; `bad`: it could not be used; "
            "`refused`: the version cannot be compiled.",
            {"{{outcome}}": gauge("sum", "compiled_loads_total", "outcome", MODEL)},
        ),
    ],
)

DASHBOARD = Dashboard(
    "swaps",
    "Okawari: safety of swaps",
    "Whether versions load, come to serve and are freed, and what requests feel of it.",
    [_GENERATIONS, _REQUESTS, _LOADS],
    [INSTANCES, MODELS],
    [SWAPS, ALERTS],
)
