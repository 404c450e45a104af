"""What a long run records: slopes, sums over pieces, a plot."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from soak.models import label, says_it_is
from soak.report import Piece, write
from soak.samples import Sample, growth_per_hour, sample
from soak.traffic import Counts, Sent, Traffic


def _sample(minute: int, resident: float, workers: int = 2) -> Sample:
    return Sample(minute * 60.0, workers, resident, resident / 2, 90, 40, minute * 1200, 8.0, 20.0)


def _piece(**changes: object) -> Piece:
    values: dict[str, object] = {
        "started": "2026-11-30T12:00:00+00:00",
        "seconds": 600.0,
        "version": "1.0",
        "workers": 2,
        "counts": Counts(answered=100, refused=Counter({"overloaded": 2}), lost=1),
        "samples": [_sample(minute, 300.0) for minute in range(10)],
        "marks": [(30.0, "a worker was killed")],
        "swaps": 5,
        "evictions": 3,
        "kills": 1,
        "restarts": 0,
        "problems": [],
    }
    return Piece(**{**values, **changes})  # type: ignore[arg-type]


def test_growth_is_a_slope_after_the_beginning() -> None:
    beginning = [_sample(minute, 100.0 + 40 * minute) for minute in range(5)]
    later = [_sample(minute, 300.0 + minute) for minute in range(5, 20)]
    assert growth_per_hour([*beginning, *later], "resident_mb") == pytest.approx(60.0)
    assert growth_per_hour(beginning[:2], "resident_mb") is None


def test_moments_without_a_worker_say_nothing_of_growth() -> None:
    samples = [_sample(minute, 300.0) for minute in range(20)]
    samples[15] = _sample(15, 150.0, workers=1)
    assert growth_per_hour(samples, "resident_mb") == pytest.approx(0.0)


def test_a_process_that_has_ended_counts_nothing() -> None:
    taken = sample(1.0, [2**22 + 1], 7, [1.0, 2.0, 3.0])
    assert (taken.resident_mb, taken.descriptors, taken.p50_ms) == (0.0, 0, 2.0)


def test_each_run_adds_its_piece_and_the_plot_is_of_the_last(tmp_path: Path) -> None:
    write(tmp_path, _piece())
    sums = write(tmp_path, _piece(counts=Counts(answered=50, failed=Counter({"ReadError": 1}))))
    assert (sums["answered"], sums["swaps"], sums["evictions"]) == (150, 10, 6)
    assert sums["failed"] == {"ReadError": 1}
    record = json.loads((tmp_path / "soak.json").read_text())
    assert len(record["pieces"]) == 2
    assert record["sums"] == sums
    drawing = ElementTree.fromstring((tmp_path / "soak.svg").read_text())  # noqa: S314 - ours
    lines = drawing.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(each.attrib["points"].split()) for each in lines] == [10] * 6


@pytest.mark.parametrize(
    ("counts", "holds"),
    [
        (Counts(answered=1, refused=Counter({"overloaded": 5}), lost=3), True),
        (Counts(answered=1, failed=Counter({"ReadError": 1})), False),
        (Counts(answered=1, contradictions=1), False),
    ],
)
def test_a_run_holds_where_nothing_failed(counts: Counts, holds: bool) -> None:
    assert _piece(counts=counts).holds is holds


def _body(model: str, version: str, *labels: str) -> dict[str, object]:
    return {"model": model, "model_version": version, "detections": [{"label": each} for each in labels]}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, _body("soak", "v2", "soak:v2/star"), (1, 0, 0, 0)),
        (200, _body("soak", "v1", "soak:v2/star"), (1, 0, 0, 1)),
        (200, _body("soak", "v2"), (1, 0, 0, 1)),
        (200, _body("other", "v2", "other:v2/star"), (1, 0, 0, 1)),
        (429, {"error": {"code": "overloaded"}}, (0, 1, 0, 0)),
        (500, {"error": {"code": "internal_error"}}, (0, 0, 1, 0)),
        (404, {}, (0, 0, 1, 0)),
    ],
)
def test_an_answer_is_held_against_the_version_that_it_names(
    status: int, body: dict[str, object], expected: tuple[int, int, int, int]
) -> None:
    traffic = Traffic("http://none", 1.0, lambda: False, device="token")
    traffic._judge(status, json.dumps(body).encode(), Sent("soak"))
    counts = traffic.counts
    found = (counts.answered, counts.refused.total(), counts.failed.total(), counts.contradictions)
    assert found == expected
    assert [(each.model, each.said) for each in counts.failures] == [
        ("soak", json.dumps(body)) for _ in range(expected[2])
    ]


def test_labels_name_their_version() -> None:
    own = label("soak", "v2", "star")
    assert says_it_is([own], "soak", "v2")
    assert not says_it_is([own, label("soak", "v1", "star")], "soak", "v2")
    assert not says_it_is([label("soak", "v20", "star")], "soak", "v2")
