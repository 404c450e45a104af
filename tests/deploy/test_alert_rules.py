"""The rules of deploy/prometheus are valid, use metrics that exist, and each alert is tried both ways."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import FOLDER, promtool
from tests.test_docs import CHAPTER_8

RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
#: Prometheus' own.
_OWN = {"up"}
_FUNCTIONS = re.compile(r"\b[a-z_0-9]+(?=\s*\()")
_STRINGS = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"\b[a-z][a-z0-9_:]*\b")
_WORDS = {"by", "on", "or", "and", "unless", "offset", "without", "ignoring", "group_left", "bool"}


@cache
def rules(kind: str) -> dict[str, dict[str, Any]]:
    """All alerts (`alert`) or recorded figures (`record`), by name."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    found = [rule for group in groups for rule in group["rules"] if kind in rule]
    assert len({rule[kind] for rule in found}) == len(found)
    return {rule[kind]: rule for rule in found}


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics in an expression."""
    text = _GROUPING.sub(" ", _STRINGS.sub('""', expression))
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    return {name for name in _NAME.findall(_FUNCTIONS.sub(" ", text)) if name not in _WORDS} - {"e"}


def documented() -> set[str]:
    """The names in chapter 8, and those of the series of its histograms."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", CHAPTER_8, re.MULTILINE)
    parts = ("_bucket", "_count", "_sum")
    return {name for name, kind in rows if kind != "histogram"} | {
        f"{name}{part}" for name, kind in rows if kind == "histogram" for part in parts
    }


@pytest.mark.process
@pytest.mark.timeout(120)
def test_promtool_takes_the_configuration_with_its_rules() -> None:
    done = promtool("check", "config", "--lint=all", "--lint-fatal", FOLDER / "prometheus.yml")
    assert done.returncode == 0, done.stdout.decode()
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.process
@pytest.mark.timeout(120)
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    done = promtool("test", "rules", *TESTS)
    assert done.returncode == 0, done.stdout.decode()


def test_each_alert_is_tried_with_a_series_that_fires_and_one_that_does_not() -> None:
    tests = [test["alert_rule_test"] for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    tried = {(cases[0]["alertname"], any(case["exp_alerts"] for case in cases)) for cases in tests}
    assert tried == {(name, fires) for name in rules("alert") for fires in (True, False)}


@pytest.mark.parametrize("name", rules("alert"))
def test_an_alert_says_how_urgent_it_is_what_is_so_and_what_to_do(name: str) -> None:
    alert = rules("alert")[name]
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_rules_use_metrics_that_the_service_has(kind: str) -> None:
    known = documented() | _OWN | rules("record").keys()
    for name, rule in rules(kind).items():
        used = metrics_of(rule["expr"])
        assert used, name
        assert used <= known, name


def test_rules_look_at_the_job_that_is_scraped() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (source,) = jobs["okawari"]["file_sd_configs"]
    assert source["files"] == ["targets.yml"]
    for rule in (rules("alert") | rules("record")).values():
        for selector in re.findall(r"\{([^}]*)\}", rule["expr"]):
            assert 'job="okawari"' in selector


def _targets(path: Path) -> list[str]:
    (group,) = yaml.safe_load(path.read_text())
    return list(group["targets"])


def test_the_targets_in_containers_are_services_of_the_compose_file() -> None:
    root = FOLDER.parents[1]
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    for target in _targets(FOLDER / "targets-compose.yml"):
        name, port = target.split(":")
        assert any(str(each).endswith(f":{port}") for each in services[name]["ports"]), target
    assert _targets(FOLDER / "targets.yml") == ["127.0.0.1:3000"]
