"""Which models are in memory, which leave it for others, and who waits for them."""

from __future__ import annotations

from scripts.dashboards.expressions import (
    ALERTS,
    INSTANCES,
    MODEL,
    MODELS,
    SWAPS,
    gauge,
    grown,
    quantile,
    rate,
    recorded,
)
from scripts.dashboards.grafana import Dashboard, Panel, Row

_REFUSED = f'{MODEL}, status="insufficient_memory"'

_MEMORY = Row(
    "Memory",
    [
        Panel(
            "Memory of models",
            "Of their loaded versions, in all workers; what drains counts.",
            {"{{model}}": gauge("sum", "model_memory_bytes", "model", MODEL)},
            "bytes",
            stacked=True,
        ),
        Panel(
            "Share of the budget",
            "What loaded versions take of OKAWARI_MEMORY_BUDGET. Near 1 models leave for others.",
            {
                "{{instance}}": f"{gauge('sum', 'model_memory_bytes', 'instance')} / "
                f"{gauge('max', 'model_memory_budget_bytes', 'instance')}"
            },
            "share",
        ),
        Panel(
            "Available memory of the machine",
            "As the kernel estimates it. Alert below 256 MiB: OkawariMemoryShort.",
            {"{{instance}}": gauge("min", "system_memory_available_bytes", "instance")},
            "bytes",
        ),
        Panel(
            "Models in memory",
            "Models with a loaded version.",
            {"{{instance}}": gauge("sum", "modemora_models_loaded", "instance")},
        ),
        Panel(
            "Refused for memory",
            "Predictions refused with insufficient_memory. Alert: OkawariMemoryRefusals.",
            {"{{model}}": rate("inference_requests_total", "model", _REFUSED)},
            "1/s",
        ),
    ],
)

_EVICTIONS = Row(
    "Evictions",
    [
        Panel(
            "Evictions by model",
            "Versions that left memory to make room. Alert: OkawariEvictionsThrash.",
            {"{{model}}": grown("model_evictions_total", "model", MODEL)},
            stacked=True,
        ),
        Panel(
            "Unused before the eviction",
            "Median of 10 minutes: time since an evicted version was used. Seconds mean a budget too small.",
            {"{{instance}}": recorded("instance:model_eviction_age_seconds:p50_rate10m")},
            "seconds",
        ),
        Panel(
            "Waits for a model",
            "95th percentile of the time that requests waited for a model that was not in memory.",
            {"{{model}}": quantile(0.95, "model_load_wait_seconds", "model", MODEL)},
            "seconds",
        ),
        Panel(
            "Misses",
            "Share of the predictions whose model was not in memory.",
            {
                "{{model}}": f"{rate('model_load_wait_seconds_count', 'model', MODEL)} / "
                f"({rate('inference_requests_total', 'model', MODEL)} > 0)"
            },
            "share",
        ),
    ],
)

DASHBOARD = Dashboard(
    "memory",
    "Okawari: memory and evictions",
    "Which models are in memory, which leave it for others, and who waits for them.",
    [_MEMORY, _EVICTIONS],
    [INSTANCES, MODELS],
    [SWAPS, ALERTS],
)
