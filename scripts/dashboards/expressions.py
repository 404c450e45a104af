"""PromQL that several dashboards need, and the choices in their heads."""

from __future__ import annotations

from scripts.dashboards.grafana import Annotation, Variable

#: What the choices in the head leave of a metric's series.
OURS = 'job="okawari", instance=~"$instance"'
MODEL = f'{OURS}, model=~"$model"'
WINDOW = "[$__rate_interval]"

INSTANCES = Variable("instance", "Service", 'up{job="okawari"}')
MODELS = Variable("model", "Model", 'model_generations{job="okawari", instance=~"$instance"}')
SWAPS = Annotation(
    "Swaps",
    f"sum by (instance, model) (changes(model_generation{{{MODEL}}}[30s])) > 0",
    "{{model}}: another version answers",
    "blue",
)
ALERTS = Annotation(
    "Alerts",
    'count by (alertname) (ALERTS{job="okawari", alertstate="firing"}) > 0',
    "{{alertname}}",
    "red",
)


def rate(metric: str, by: str, labels: str = OURS) -> str:
    """A counter per second, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}{WINDOW}))"


def grown(metric: str, by: str, labels: str = OURS) -> str:
    """What a rare counter has grown by in each step of the picture, summed by labels."""
    return f"sum by ({by}) (increase({metric}{{{labels}}}{WINDOW}))"


def gauge(how: str, metric: str, by: str, labels: str = OURS) -> str:
    """A gauge; `how` is sum, max or min over what is not in `by`."""
    return f"{how} by ({by}) ({metric}{{{labels}}})"


def quantile(share: float, metric: str, by: str, labels: str = OURS) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le', labels)})"


def mean(metric: str, by: str, labels: str = OURS) -> str:
    """The mean of a histogram's observations; nothing where there is none."""
    return f"{rate(f'{metric}_sum', by, labels)} / ({rate(f'{metric}_count', by, labels)} > 0)"


def recorded(name: str, labels: str = OURS) -> str:
    """A figure of deploy/prometheus/rules/recording.yml."""
    return f"{name}{{{labels}}}"
