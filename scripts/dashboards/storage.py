"""Where models run, and where the pictures of cameras are."""

from __future__ import annotations

from scripts.dashboards.expressions import ALERTS, INSTANCES, OURS, gauge, grown, rate
from scripts.dashboards.grafana import Dashboard, Panel, Row

_PICTURES = Row(
    "Pictures of devices",
    [
        Panel(
            "Stored bytes",
            "Against storage.max_total_gb. Alerts: OkawariStorageWarning, OkawariStorageFull.",
            {
                "{{instance}} used": gauge("max", "storage_used_bytes", "instance"),
                "{{instance}} limit": gauge("max", "storage_limit_bytes", "instance"),
            },
            "bytes",
        ),
        Panel(
            "Stored pictures",
            "By the device that took them.",
            {"{{device_id}}": rate("images_stored_total", "device_id")},
            "per second",
            stacked=True,
        ),
        Panel(
            "Outbox",
            "Accepted pictures on their way into store and records.",
            {"{{instance}}": gauge("sum", "outbox_pictures", "instance")},
        ),
        Panel(
            "Age of the outbox",
            "How long its oldest picture has waited. Alert: OkawariOutboxOld.",
            {"{{instance}}": gauge("max", "outbox_age_seconds", "instance")},
            "seconds",
            limit=300,
        ),
        Panel(
            "Commits",
            "Of the picture store, and the pictures in them.",
            {
                "{{instance}} commits": grown("picture_commits_total", "instance"),
                "{{instance}} pictures": grown("committed_pictures_total", "instance"),
            },
        ),
        Panel(
            "Over the warning threshold",
            "1 over storage.warning_threshold_gb, or when the local disk is nearly full.",
            {"{{instance}}": gauge("max", "storage_over_warning", "instance")},
            limit=1,
        ),
    ],
)

_DEVICES = Row(
    "Devices that models run on",
    [
        Panel(
            "Fallbacks to the CPU",
            "Graphs on the CPU instead of their device, since the start. Alert: OkawariDeviceFallback.",
            {
                "{{model}} {{device}} {{cause}}": gauge(
                    "sum", "device_fallbacks_total", "model, device, cause"
                )
            },
        ),
        Panel(
            "Memory of GPUs",
            "Used by all processes. Empty without a GPU or without okawari[gpu].",
            {"{{instance}} {{device}}": gauge("max", "gpu_memory_bytes", "instance, device")},
            "bytes",
        ),
        Panel(
            "Software",
            "What each service runs.",
            {"": f"max by (instance, version, python, bentoml, onnxruntime) (service_info{{{OURS}}})"},
            kind="table",
            width=24,
            height=6,
        ),
    ],
)

DASHBOARD = Dashboard(
    "storage",
    "Okawari: devices and storage",
    "Where models run, and where the pictures of cameras are.",
    [_PICTURES, _DEVICES],
    [INSTANCES],
    [ALERTS],
)
