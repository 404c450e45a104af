"""The figures of a ModelMora deployment, under its names: made of ours whenever they are asked for.

Nothing is counted twice, so they agree with ours and cover all workers as those do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

#: Upper bounds of the durations, in seconds; ours have them, too.
BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_MODEL = ("model_name",)
_DURATIONS = "inference_duration_seconds"
_Key = tuple[str, ...]


class ModelMoraFigures(Collector):
    """Our metric families as they are, and ModelMora's made of them."""

    def __init__(self, ours: Sequence[Metric], info: Mapping[str, str], *, gpu_enabled: bool) -> None:
        self._ours = ours
        self._info = info
        self._gpu_enabled = gpu_enabled

    def collect(self) -> Iterator[Metric]:
        """Ours, then ModelMora's."""
        yield from self._ours
        samples = [sample for family in self._ours for sample in family.samples]
        yield _requests(_named(samples, "inference_requests_total"))
        yield _durations(samples)
        yield _loaded(_named(samples, "model_generations"))
        yield _memory(_named(samples, "model_memory_bytes"))
        yield _evictions(_named(samples, "model_evictions_total"))
        yield _available(_named(samples, "system_memory_available_bytes"))
        yield self._service()

    def _service(self) -> Metric:
        labels = {
            "version": self._info.get("version", ""),
            "python_version": self._info.get("python", ""),
            "gpu_enabled": str(self._gpu_enabled).lower(),
        }
        info = GaugeMetricFamily("modemora_service_info", "Always 1", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        return info


def _named(samples: Iterable[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.name == name]


def _sums(samples: Iterable[Sample], key: Callable[[Mapping[str, str]], _Key]) -> Mapping[_Key, float]:
    """The sums of samples by what `key` makes of their labels."""
    sums: defaultdict[_Key, float] = defaultdict(float)
    for sample in samples:
        sums[key(sample.labels)] += sample.value
    return sums


def _by_model(labels: Mapping[str, str]) -> _Key:
    return (labels["model"],)


def _requests(samples: list[Sample]) -> Metric:
    help_text = "Predictions; status: success or error"
    family = CounterMetricFamily("modemora_inference_requests", help_text, labels=(*_MODEL, "status"))
    sums = _sums(samples, lambda of: (of["model"], "success" if of["status"] == "ok" else "error"))
    for labels, value in sums.items():
        family.add_metric(labels, value)
    return family


def _durations(samples: list[Sample]) -> Metric:
    family = HistogramMetricFamily(f"modemora_{_DURATIONS}", "Model runs", labels=_MODEL)
    totals = _sums(_named(samples, f"{_DURATIONS}_sum"), _by_model)
    buckets = _sums(_named(samples, f"{_DURATIONS}_bucket"), lambda of: (of["model"], str(float(of["le"]))))
    bounds = [*map(str, BUCKETS), "inf"]
    for (model,), total in totals.items():
        counts = [(_bound(bound), buckets[model, bound]) for bound in bounds]
        family.add_metric([model], counts, total)
    return family


def _bound(text: str) -> str:
    """A bound as the text format writes it."""
    return "+Inf" if text == "inf" else text


def _loaded(samples: list[Sample]) -> Metric:
    models = {sample.labels["model"] for sample in samples if sample.value > 0}
    return GaugeMetricFamily("modemora_models_loaded", "Models with a version in memory", value=len(models))


def _memory(samples: list[Sample]) -> Metric:
    family = GaugeMetricFamily("modemora_model_memory_usage_bytes", "As model_memory_bytes", labels=_MODEL)
    for sample in samples:
        family.add_metric([sample.labels["model"]], sample.value)
    return family


def _evictions(samples: list[Sample]) -> Metric:
    total = sum(sample.value for sample in samples)
    return CounterMetricFamily("modemora_model_evictions", "Of all models", value=total)


def _available(samples: list[Sample]) -> Metric:
    help_text = "As system_memory_available_bytes"
    return GaugeMetricFamily("modemora_system_memory_available_bytes", help_text, value=samples[0].value)
