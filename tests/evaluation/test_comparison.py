"""The document of a comparison: its verdict, figures, slices and the order of what changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from evaluation.answers import PairedAnswer
from evaluation.coco_truth import CocoTruth
from evaluation.comparison import ComparedVersion, compare_answers
from evaluation.comparison_verdict import ChangeTally, ComparisonResult, MeasureChange, sign_test, verdict
from evaluation.picture_facts import PictureFacts
from runners.mask_runs import mask_of
from tests.evaluation.answered import found, pair, side, truth_of, versions

DETECTION = "object-detection"
RESULT = ComparisonResult
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def compared(
    answers: list[PairedAnswer],
    truth: CocoTruth | None = None,
    task: str = DETECTION,
    who: tuple[ComparedVersion, ComparedVersion] | None = None,
) -> dict[str, Any]:
    """The document, as a file would have it."""
    comparison = compare_answers(task, who or versions(), answers, truth, created=NOW)
    return dict(json.loads(json.dumps(comparison.document)))


def names(count: int) -> list[str]:
    return [f"p{number}" for number in range(count)]


class TestVerdict:
    CAT = side(found("cat"))

    def _with(self, better: int, worse: int, same: int = 10) -> dict[str, Any]:
        fixed = [pair(f"{name}.jpg", side(), self.CAT) for name in names(better)]
        broken = [pair(f"w{name}.jpg", self.CAT, side()) for name in names(worse)]
        alike = [pair(f"s{name}.jpg", self.CAT, self.CAT) for name in names(same)]
        answers = fixed + broken + alike
        truth = truth_of(**{each.name.removesuffix(".jpg"): "cat" for each in answers})
        return compared(answers, truth)

    def test_more_right_than_wrong_beyond_chance_is_better(self) -> None:
        document = self._with(better=9, worse=1)
        assert document["verdict"]["result"] == RESULT.BETTER
        assert "9 are better and 1 worse" in document["verdict"]["sentence"]
        assert document["b"]["measures"]["ap50"] > document["a"]["measures"]["ap50"]

    def test_more_wrong_than_right_beyond_chance_is_worse(self) -> None:
        assert self._with(better=0, worse=6)["verdict"]["result"] == RESULT.WORSE

    def test_what_chance_could_do_is_no_clear_difference(self) -> None:
        for better, worse in ((3, 0), (5, 2), (0, 5), (4, 4), (0, 0)):
            assert self._with(better, worse)["verdict"]["result"] == RESULT.NO_DIFFERENCE

    def test_a_version_that_fails_where_the_other_answers_is_worse(self) -> None:
        failed = [pair(f"f{name}.jpg", self.CAT, side(error="NaN")) for name in names(8)]
        answers = [*failed, pair("one.jpg", self.CAT, self.CAT)]
        document = compared(answers, truth_of(**{each.name.removesuffix(".jpg"): "cat" for each in answers}))
        assert document["verdict"]["result"] == RESULT.WORSE
        assert document["b"]["measures"]["failed"] == 8

    def test_one_that_answers_where_the_other_fails_is_better(self) -> None:
        failed = [pair(f"f{name}.jpg", side(error="NaN"), self.CAT) for name in names(8)]
        answers = [*failed, pair("one.jpg", self.CAT, self.CAT)]
        truth = truth_of(**{each.name.removesuffix(".jpg"): "cat" for each in answers})
        document = compared(answers, truth)
        assert document["verdict"]["result"] == RESULT.BETTER
        assert "of 9 pictures with a known truth 8 are better" in document["verdict"]["sentence"]

    def test_a_measure_that_says_the_contrary_stands_against_a_verdict(self) -> None:
        for tally, before, after, result in (
            (ChangeTally(20, 20, 10, better=10, worse=0), 0.5, 0.5, RESULT.BETTER),
            (ChangeTally(20, 20, 10, better=10, worse=0), 0.5, 0.4, RESULT.NO_DIFFERENCE),
            (ChangeTally(20, 20, 10, better=0, worse=10), 0.4, 0.5, RESULT.NO_DIFFERENCE),
        ):
            assert verdict("a", "b", tally, MeasureChange("AP50", before, after), 1.0)[0] == result

    def test_without_truth_nothing_is_better(self) -> None:
        alike = [pair(f"{name}.jpg", self.CAT, self.CAT) for name in names(40)]
        assert compared(alike)["verdict"]["result"] == RESULT.NO_DIFFERENCE
        other = [pair(f"o{name}.jpg", self.CAT, side()) for name in names(10)]
        document = compared([*alike, *other])
        assert document["verdict"]["result"] == RESULT.NOT_COMPARABLE
        assert document["agreement"]["agreement"] == pytest.approx(80 / 90, abs=1e-4)

    def test_what_neither_answered_cannot_be_compared(self) -> None:
        failed = side(error="broken")
        document = compared([pair("a.jpg", failed, failed)])
        assert document["verdict"]["result"] == RESULT.NOT_COMPARABLE


def test_the_sign_test_is_the_exact_one() -> None:
    assert sign_test(0, 0) == 1
    assert sign_test(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    assert sign_test(1, 9) == sign_test(9, 1)
    assert sign_test(3, 3) == 1
    assert 0 < sign_test(3000, 2000) < 1e-6


def test_planted_differences_are_exactly_those_that_are_listed_first() -> None:
    cat, weak = side(found("cat")), side(found("cat", 0.52))
    planted = {
        "broken.jpg": (cat, side()),
        "alarm.jpg": (cat, side(found("cat"), found("dog", 0.9, (0.6, 0.6, 0.9, 0.9)))),
    }
    noise = {f"noise{name}.jpg": (weak, side(found("cat", 0.48))) for name in names(5)}
    alike = {f"same{name}.jpg": (cat, cat) for name in names(50)}
    answers = [pair(name, *both) for name, both in (alike | noise | planted).items()]
    document = compared(answers, truth_of(**{each.name.removesuffix(".jpg"): "cat" for each in answers}))
    listed = [each["picture"] for each in document["transitions"]["pictures"]]
    assert listed[:2] == ["broken.jpg", "alarm.jpg"]
    assert sorted(listed[2:]) == sorted(noise)
    assert document["transitions"]["counts"] == {"broken": 6, "new false alarm": 1}


def test_labels_that_no_version_knows_do_not_count() -> None:
    answers = [
        pair("a.jpg", side(found("cat")), side(found("cat"), found("zebra", 0.9, (0.6, 0.6, 0.9, 0.9))))
    ]
    document = compared(answers, truth_of(a="cat", b="dog"), who=versions(labels=("cat", "zebra")))
    assert list(document["a"]["classes"]) == ["cat"]
    assert document["b"]["measures"]["ap50"] == 1
    assert document["labels_without_truth"] == ["zebra"]


def test_slices_by_camera_hour_brightness_and_size() -> None:
    cat = side(found("cat"))
    day, night = PictureFacts("front", 12, 200.0), PictureFacts("back", 23, 20.0)
    answers = [pair("day.jpg", cat, cat, day), pair("night.jpg", cat, side(), night)]
    document = compared(answers, truth_of(day="cat", night="cat"))
    slices = {(each["by"], each["value"]): each for each in document["slices"]}
    assert {by for by, _ in slices} == {"camera", "hour", "brightness", "box size"}
    for key in (("camera", "front"), ("hour", "12"), ("brightness", "bright")):
        assert (slices[key]["a"]["ap50"], slices[key]["b"]["ap50"]) == (1, 1)
    for key in (("camera", "back"), ("hour", "23"), ("brightness", "dark")):
        assert (slices[key]["a"]["ap50"], slices[key]["b"]["ap50"]) == (1, 0)
    assert slices["box size", "medium"]["b"]["ap50"] == pytest.approx(0.505, abs=1e-3)
    assert slices["box size", "large"]["a"] == {}


def test_latency_memory_and_scores_of_both() -> None:
    answers = [
        pair(f"{name}.jpg", side(found("cat", 0.93), ms=number), side(found("cat", 0.12), ms=2 * number))
        for number, name in enumerate(names(101))
    ]
    document = compared(answers)
    assert (document["a"]["measures"]["p50_ms"], document["b"]["measures"]["p95_ms"]) == (50, 190)
    assert document["b"]["measures"]["memory_mb"] == 50
    assert (document["scores"]["a"][18], document["scores"]["b"][2]) == (101, 101)
    assert (document["a"]["findings"], document["b"]["findings"]) == (101, 0)


def test_the_command_promotes_version_b_of_the_same_model_alone() -> None:
    answers = [pair("a.jpg", side(found("cat")), side(found("cat")))]
    promote = compared(answers)["promote"]
    assert promote.startswith("okawari promote m v2 --reason 'there is no clear difference")
    assert compared(answers, who=versions(other="n"))["promote"] is None


class TestOtherTasks:
    def test_classification_has_accuracy_and_the_share_of_the_same_best_label(self) -> None:
        cat, dog = side(found("cat", 0.6, None)), side(found("dog", 0.7, None), found("cat", 0.2, None))
        answers = [
            pair("a.jpg", cat, cat),
            pair("b.jpg", cat, dog),
            pair("c.jpg", dog, cat),
            pair("d.jpg", dog, dog),
        ]
        task = "image-classification"
        document = compared(answers, truth_of(a="cat", b="cat", c="cat"), task)
        assert document["a"]["measures"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
        assert document["b"]["classes"]["cat"]["recall"] == pytest.approx(2 / 3, abs=1e-4)
        assert document["agreement"]["agreement"] == 0.5
        kinds = {
            each["picture"]: each["transitions"][0]["kind"] for each in document["transitions"]["pictures"]
        }
        assert kinds == {"b.jpg": "broken", "c.jpg": "fixed"}
        assert compared(answers, None, task)["verdict"]["result"] == RESULT.NOT_COMPARABLE

    def test_embeddings_agree_where_the_same_pictures_are_near(self) -> None:
        places = {"a": (1, 0), "b": (1, 0.1), "c": (0, 1), "d": (0.1, 1)}
        moved = places | {"d": (1, 0.3)}
        answers = [
            pair(f"{name}.jpg", side(embedding=places[name]), side(embedding=moved[name])) for name in places
        ]
        same = [
            pair(each.name, each.a, side(embedding=[2 * v for v in each.a.embedding])) for each in answers
        ]
        task = "image-embedding"
        assert compared(same, None, task)["agreement"]["agreement"] == 1
        document = compared(answers, None, task)
        assert document["agreement"]["agreement"] == pytest.approx(0.75)
        (changed,) = document["transitions"]["pictures"]
        assert (changed["picture"], changed["transitions"][0]["label"]) == ("d.jpg", "nearest: c.jpg → b.jpg")

    def test_maps_agree_by_the_overlap_of_each_label(self) -> None:
        left = np.zeros((10, 10), dtype=bool)
        left[:, :5] = True
        most = left.copy()
        most[:5] = False
        full, half = (side(found("grass", 0.9, None, mask_of(each))) for each in (left, most))
        task = "semantic-segmentation"
        assert compared([pair("a.jpg", full, full)], None, task)["agreement"]["agreement"] == 1
        assert compared([pair("a.jpg", full, half)], None, task)["agreement"]["agreement"] == 0.5
        document = compared([pair("a.jpg", full, side()), pair("b.jpg", full, full)], None, task)
        assert document["agreement"]["agreement"] == 0.5
        assert document["transitions"]["pictures"][0]["transitions"][0]["kind"] == "find gone"

    def test_masks_of_instances_are_compared_beside_their_boxes(self) -> None:
        whole, part = np.ones((10, 10), dtype=bool), np.zeros((10, 10), dtype=bool)
        part[:, :5] = True
        one, other = (side(found("cat", mask=mask_of(each))) for each in (whole, part))
        document = compared([pair("a.jpg", one, other)], None, "instance-segmentation")
        assert document["agreement"] == {"agreement": 1, "mask_iou": 0.5}
