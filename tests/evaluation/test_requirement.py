"""What a comparison must show before a version is promoted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.requirement import ComparisonReport, PromotionRequirement, read_report
from hotswap.errors import BadRequest

OLD, NEW = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def _report(**changes: Any) -> ComparisonReport:
    document: dict[str, Any] = {
        "format": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "a": {"name": "m:v1", "digest": OLD, "measures": {"ap50": 0.4, "p95_ms": 20.0}},
        "b": {"name": "m:v2", "digest": NEW, "measures": {"ap50": 0.39, "p95_ms": 18.0, "recall": None}},
    }
    return ComparisonReport.model_validate(document | changes)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ap50>=current", False),
        ("ap50 >= current-0.02", True),
        ("ap50>=current - 0.005", False),
        ("ap50>=0.39", True),
        ("ap50>0.39", False),
        ("p95_ms<=current", True),
        ("p95_ms<current-5", False),
        ("p95_ms<=17.5", False),
    ],
)
def test_a_rule_holds_or_not_with_its_numbers(text: str, holds: bool) -> None:
    rule = PromotionRequirement.parse(text)
    if holds:
        assert "holds for m:v2" in rule.judge(_report(), NEW, OLD)
        return
    with pytest.raises(BadRequest, match=r"does not hold for m:v2: (ap50 is 0\.39|p95_ms is 18)"):
        rule.judge(_report(), NEW, OLD)


def test_the_version_may_be_either_side() -> None:
    assert PromotionRequirement.parse("ap50>=current").judge(_report(), OLD, NEW)


@pytest.mark.parametrize(
    ("candidate", "current", "text", "said"),
    [
        ("sha256:other", OLD, "ap50>=current", "not the files of this version"),
        (None, OLD, "ap50>=0.1", "not the files of this version"),
        (NEW, None, "ap50>=current", "production now"),
        (NEW, "sha256:other", "ap50>=current", "production now"),
        (NEW, NEW, "ap50>=current", "production now"),
        (NEW, OLD, "recall>=0.5", "nothing about recall"),
        (NEW, OLD, "accuracy>=current", "nothing about accuracy"),
    ],
)
def test_a_report_about_something_else_is_no_evidence(
    candidate: str | None, current: str | None, text: str, said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        PromotionRequirement.parse(text).judge(_report(), candidate, current)


@pytest.mark.parametrize(
    "text", ["", "ap50", "ap50>=", "ap50==current", "beauty>=1", "ap50>=current*2", "ap50>=1..2"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        PromotionRequirement.parse(text)


def test_a_report_is_read_from_its_folder(tmp_path: Path) -> None:
    for text in ("{}", "no json", json.dumps({"format": 2})):
        (tmp_path / "comparison.json").write_text(text)
        with pytest.raises(BadRequest, match="okawari compare writes"):
            read_report(tmp_path)
    (tmp_path / "comparison.json").write_text(_report().model_dump_json())
    assert read_report(tmp_path) == read_report(tmp_path / "comparison.json") == _report()
