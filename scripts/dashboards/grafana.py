"""Dashboards of Grafana as data, and the JSON that Grafana reads.

grafana-foundation-sdk would do it too; its releases are numbered by the time at which they were built
(`1769699998!10.1.0` comes after `1769699520!11.6.0`), so no range of versions can be pinned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Columns of Grafana's grid, and the schema of its release 10.4, which later ones read.
COLUMNS = 24
_SCHEMA = 39
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: How units are named by those who write dashboards, and by Grafana.
UNITS = {
    "1/s": "reqps",
    "bytes": "bytes",
    "count": "short",
    "per second": "cps",
    "seconds": "s",
    "share": "percentunit",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `queries`: expressions of PromQL by the legends of their series.

    `kind` is Grafana's: timeseries, stat or table; `unit` one of `UNITS`. `limit` draws a line where an alert
    begins. `stacked`: the series add up to a whole.
    """

    title: str
    description: str
    queries: Mapping[str, str]
    unit: str = "count"
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    limit: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right; what does not fit begins a new line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice in the head of a dashboard: the values of a label, several or all of them."""

    name: str
    label: str
    metric: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked in every panel: where the expression is above 0."""

    name: str
    expression: str
    title: str
    colour: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page; `name` is that of its file and, after `okawari-`, of its address."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable]
    annotations: Sequence[Annotation] = field(default=())

    def document(self) -> str:
        """The JSON that Grafana reads."""
        return json.dumps(self._fields(), indent=2, ensure_ascii=False) + "\n"

    def _fields(self) -> dict[str, Any]:
        return {
            "uid": f"okawari-{self.name}",
            "title": self.title,
            "description": self.description,
            "tags": ["okawari"],
            "schemaVersion": _SCHEMA,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,  # one cross hair in all panels
            "time": {"from": "now-1h", "to": "now"},
            "refresh": "15s",
            "timezone": "browser",
            "links": [_LINK],
            "templating": {"list": [_DATASOURCE, *map(_variable, self.variables)]},
            "annotations": {"list": [_annotation(each) for each in self.annotations]},
            "panels": list(self._panels()),
        }

    def _panels(self) -> Iterator[dict[str, Any]]:
        number, y = 1, 0
        for row in self.rows:
            yield {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
            number, y, x, line = number + 1, y + 1, 0, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, line = 0, y + line, 0
                place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
                yield {"id": number, "gridPos": place, **_panel(panel)}
                number, x, line = number + 1, x + panel.width, max(line, panel.height)
            y += line


_LINK = {
    "type": "dashboards",
    "title": "Okawari",
    "tags": ["okawari"],
    "asDropdown": True,
    "keepTime": True,
    "includeVars": True,
}
_DATASOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "values"},
        "definition": query,
        "refresh": 2,  # when the time range changes, too
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _annotation(annotation: Annotation) -> dict[str, Any]:
    return {
        "name": annotation.name,
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": annotation.colour,
        "expr": annotation.expression,
        "step": "15s",
        "titleFormat": annotation.title,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [
            _target(chr(ord("A") + number), expression, legend, panel)
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }


def _target(name: str, expression: str, legend: str, panel: Panel) -> dict[str, Any]:
    over_time = panel.kind == "timeseries"
    return {
        "refId": name,
        "datasource": _SOURCE,
        "expr": expression,
        "legendFormat": legend,
        "range": over_time,
        "instant": not over_time,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": UNITS[panel.unit],
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "off" if panel.limit is None else "dashed"},
        }
    return defaults


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value_and_name",
    },
    "table": {"showHeader": True},
}
