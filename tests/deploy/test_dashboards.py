"""The dashboards in grafana/: what the code writes, laid out on the grid, over metrics that exist."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.dashboards.__main__ import DASHBOARDS, FOLDER, main
from scripts.dashboards.grafana import COLUMNS, UNITS, Dashboard, Panel
from tests.deploy.test_alert_rules import documented, metrics_of, rules
from tests.support.prometheus import ROOT

PROVISIONING = ROOT / "grafana" / "provisioning"


def _panels(dashboard: Dashboard) -> list[Panel]:
    return [panel for row in dashboard.rows for panel in row.panels]


def test_the_committed_files_are_what_the_code_writes(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == written, "run: make dashboards"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.name)
class TestADashboard:
    """Each of them."""

    def test_panels_lie_on_the_grid_and_on_no_other(self, dashboard: Dashboard) -> None:
        places = [each["gridPos"] for each in json.loads(dashboard.document())["panels"]]
        assert all(at["x"] + at["w"] <= COLUMNS for at in places)
        for one, other in itertools.combinations(places, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]

    def test_a_panel_says_what_it_shows(self, dashboard: Dashboard) -> None:
        for panel in _panels(dashboard):
            assert panel.description.endswith("."), panel.title
            assert panel.unit in UNITS, panel.title
            named = set(re.findall(r"Okawari[A-Z]\w+", panel.description))
            assert named <= rules("alert").keys(), panel.title

    def test_a_legend_names_labels_that_are_left(self, dashboard: Dashboard) -> None:
        for panel in _panels(dashboard):
            for legend, expression in panel.queries.items():
                for label in re.findall(r"\{\{(\w+)\}\}", legend):
                    recorded = re.match(rf"(\w*_)?{label}(_\w*)?:", expression)
                    assert recorded or re.search(rf"by \([^)]*\b{label}\b", expression), panel.title

    def test_expressions_use_metrics_that_the_service_has(self, dashboard: Dashboard) -> None:
        known = documented() | {"up", "ALERTS"} | rules("record").keys()
        shown = [each for panel in _panels(dashboard) for each in panel.queries.values()]
        for expression in [*shown, *(each.expression for each in dashboard.annotations)]:
            assert metrics_of(expression) <= known, expression

    def test_its_data_source_can_be_chosen(self, dashboard: Dashboard) -> None:
        document = json.loads(dashboard.document())
        assert document["templating"]["list"][0]["type"] == "datasource"
        assert set(_uids(document)) == {"${datasource}"}


def _uids(node: Any) -> list[str]:
    """The data sources that anything in a document names."""
    if isinstance(node, list):
        return [uid for each in node for uid in _uids(each)]
    if not isinstance(node, dict):
        return []
    own = [node["datasource"]["uid"]] if isinstance(node.get("datasource"), dict) else []
    return own + [uid for each in node.values() for uid in _uids(each)]


def test_every_metric_of_ours_is_on_a_dashboard_or_in_a_rule() -> None:
    """Whoever adds a metric decides where an operator sees it; ModelMora's have dashboards of their own."""
    shown = {
        name
        for dashboard in DASHBOARDS
        for panel in _panels(dashboard)
        for expression in panel.queries.values()
        for name in metrics_of(expression)
    }
    shown |= {name for rule in rules("record").values() for name in metrics_of(rule["expr"])}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in documented()}
    aliases = {"storage_bytes_total"}
    assert {name for name in ours - aliases if not name.startswith("modemora_")} <= shown


def test_grafana_is_told_where_data_and_dashboards_are() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "okawari.yml").read_text())["providers"]
    guide = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
    for variable in (source["url"], provider["options"]["path"]):
        assert variable.removeprefix("$") in guide
