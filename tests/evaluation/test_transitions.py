"""What changes between two versions, with and without a known truth."""

from __future__ import annotations

from evaluation.coco_truth import TrueObject
from evaluation.transitions import (
    Findings,
    PictureTruth,
    Transition,
    TransitionKind,
    picture_transitions,
    top_transitions,
)
from hotswap.predictions import Box, Detection

LEFT: Box = (0.0, 0.0, 0.4, 0.4)
#: At the place of LEFT.
NEAR: Box = (0.02, 0.0, 0.42, 0.4)
RIGHT: Box = (0.6, 0.6, 0.9, 0.9)
KIND = TransitionKind


def found(label: str, score: float, box: Box | None = LEFT) -> Detection:
    return Detection(label, 0, score, box)


def says(*detections: Detection) -> Findings:
    return Findings(tuple(sorted(detections, key=lambda each: -each.score)), 0.5)


def true(*objects: tuple[str, Box], crowd: bool = False) -> PictureTruth:
    return PictureTruth(
        tuple(TrueObject(label, box, 1.0, crowd) for label, box in objects), frozenset({"cat", "dog"})
    )


def kinds(changes: list[Transition]) -> list[tuple[TransitionKind, str, int, str]]:
    return [(each.kind, each.label, each.gain, each.right) for each in changes]


class TestWithTruth:
    def test_the_same_answers_change_nothing(self) -> None:
        truth = true(("cat", LEFT), ("dog", RIGHT))
        both = found("cat", 0.9), found("dog", 0.8, LEFT)
        assert picture_transitions(says(*both), says(*both), truth) == []
        assert picture_transitions(says(found("cat", 0.9)), says(found("cat", 0.6, NEAR)), truth) == []

    def test_an_object_that_is_lost_is_broken_and_one_that_is_found_is_fixed(self) -> None:
        truth = true(("cat", LEFT), ("dog", RIGHT))
        changes = picture_transitions(says(found("cat", 0.9)), says(found("dog", 0.9, RIGHT)), truth)
        assert kinds(changes) == [(KIND.BROKEN, "cat", -1, "a"), (KIND.FIXED, "dog", 1, "b")]
        assert changes[0].truth == LEFT
        assert changes[0].b is None

    def test_false_alarms_come_and_go(self) -> None:
        alarm = found("dog", 0.9, RIGHT)
        truth = true(("cat", LEFT))
        assert kinds(picture_transitions(says(), says(alarm), truth)) == [(KIND.FALSE_ALARM, "dog", -1, "a")]
        assert kinds(picture_transitions(says(alarm), says(), truth)) == [(KIND.FIXED, "dog", 1, "b")]

    def test_another_label_at_one_place_is_one_change_and_the_truth_says_which_is_right(self) -> None:
        pair = says(found("cat", 0.9)), says(found("dog", 0.8, NEAR))
        for truth, right, gain in (
            (true(("cat", LEFT)), "a", -1),
            (true(("dog", LEFT)), "b", 1),
            (true(), "neither", 0),
            (true(("cat", LEFT), ("dog", NEAR)), "both", 0),
        ):
            assert kinds(picture_transitions(*pair, truth)) == [(KIND.LABEL, "cat → dog", gain, right)]

    def test_labels_of_which_the_truth_says_nothing_are_no_false_alarms(self) -> None:
        unknown = found("zebra", 0.9, RIGHT)
        assert kinds(picture_transitions(says(), says(unknown), true())) == [
            (KIND.NEW, "zebra", 0, "unknown")
        ]
        assert kinds(picture_transitions(says(unknown), says(), true())) == [
            (KIND.GONE, "zebra", 0, "unknown")
        ]

    def test_findings_in_a_crowd_are_neither_right_nor_wrong(self) -> None:
        crowd = true(("cat", (0.0, 0.0, 1.0, 1.0)), crowd=True)
        assert picture_transitions(says(), says(found("cat", 0.9), found("cat", 0.8, RIGHT)), crowd) == []

    def test_a_second_box_on_one_object_is_a_false_alarm(self) -> None:
        one, two = found("cat", 0.9), found("cat", 0.7, (0.1, 0.0, 0.5, 0.4))
        changes = picture_transitions(says(one), says(one, two), true(("cat", LEFT)))
        assert kinds(changes) == [(KIND.FALSE_ALARM, "cat", -1, "a")]


class TestSeverity:
    def test_what_slips_under_the_threshold_is_less_severe_than_what_is_not_seen_at_all(self) -> None:
        truth = true(("cat", LEFT))
        gone = picture_transitions(says(found("cat", 0.52)), says(), truth)
        weak = picture_transitions(says(found("cat", 0.52)), says(found("cat", 0.49)), truth)
        assert kinds(gone) == kinds(weak)
        assert weak[0].severity < gone[0].severity
        assert weak[0].b is not None, "the weak finding is shown"

    def test_the_worst_comes_first(self) -> None:
        truth = true(("cat", LEFT), ("dog", RIGHT))
        middle: Box = (0.42, 0.42, 0.58, 0.58)
        changes = picture_transitions(
            says(found("cat", 0.9)), says(found("dog", 0.9, RIGHT), found("dog", 0.9, middle)), truth
        )
        assert [each.kind for each in changes] == [KIND.BROKEN, KIND.FALSE_ALARM, KIND.FIXED]


def test_without_truth_finds_come_go_and_change_their_label() -> None:
    a = says(found("cat", 0.9), found("dog", 0.9, RIGHT))
    b = says(found("bird", 0.9, NEAR), found("dog", 0.9, (0.45, 0.1, 0.55, 0.3)))
    assert sorted(kinds(picture_transitions(a, b, None))) == [
        (KIND.GONE, "dog", 0, "unknown"),
        (KIND.LABEL, "cat → bird", 0, "unknown"),
        (KIND.NEW, "dog", 0, "unknown"),
    ]


def test_the_best_label_of_a_whole_picture() -> None:
    a, b = says(found("cat", 0.9, None), found("dog", 0.1, None)), says(found("dog", 0.8, None))
    assert kinds(top_transitions(a, b, None)) == [(KIND.LABEL, "cat → dog", 0, "unknown")]
    assert kinds(top_transitions(a, b, true(("cat", LEFT)))) == [(KIND.BROKEN, "cat → dog", -1, "a")]
    assert kinds(top_transitions(a, b, true(("dog", LEFT)))) == [(KIND.FIXED, "cat → dog", 1, "b")]
    assert top_transitions(a, a, true(("dog", LEFT))) == []
