"""The checks of the gate: contracts, golden pictures, latency."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.contract import ContractCheck, changes
from evaluation.evidence import LatencyCheck
from evaluation.golden import GoldenCheck, compare, policy_of
from hotswap.gate import GatePolicy, Result, Version
from hotswap.predictions import Box, Detection, Options, Picture, Prediction, Predictions, Timings
from manifest.tags import ModelTag
from manifest.version_manifest import ExpectedObject, GateConfig, GoldenPicture, ModelConfig
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact

RULES = GateConfig()
BOX = (0.1, 0.1, 0.5, 0.5)


def config(**fields: Any) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "task": "object-detection",
            "family": "fake",
            "input": {"width": 8, "height": 8},
            "labels": ["cat", "dog"],
            **fields,
        }
    )


def found(
    label: str = "cat", bbox: tuple[float, float, float, float] | None = BOX, score: float = 0.9
) -> Detection:
    return Detection(label=label, label_id=0, score=score, bbox=bbox)


def expected(label: str = "cat", bbox: Box | None = BOX) -> ExpectedObject:
    return ExpectedObject(label=label, bbox=bbox, score=0.9)


class Answers(FakeRunner):
    """Answers each picture, by its bytes, with what it is told to."""

    def __init__(self, answers: dict[bytes, Sequence[Detection]], seconds: float = 0.0) -> None:
        super().__init__(ModelTag("m", "v2"), 2)
        self._answers = answers
        self._seconds = seconds

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        time.sleep(self._seconds)
        items = tuple(Prediction(tuple(self._answers[each.encoded or b""]), "v2", 8, 8) for each in pictures)
        return Predictions(items, Timings())


def version(
    folder: Path, answers: dict[bytes, Sequence[Detection]], seconds: float = 0.0, **gate: Any
) -> Version:
    """A version with two golden pictures: a cat, and a dog."""
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    golden = [
        GoldenPicture(file="a", expected=[expected("cat")]),
        GoldenPicture(file="b", expected=[expected("dog")]),
    ]
    made = config().model_copy(update={"golden": golden, "gate": GateConfig(**gate)})
    settled = replace(artifact(ModelTag("m", "v2")), path=folder, config=made)
    return Version(settled, Answers(answers, seconds))


# --- contract ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"labels": ["cat", "dog", "bird"]}, []),
        ({"labels": ["dog", "cat"]}, ["label 0: 'dog', was 'cat', 1: 'cat', was 'dog'"]),
        ({"labels": ["cat"]}, ["has 1 labels, had 2"]),
        ({"input": {"width": 16, "height": 8}}, ["input is 16x8, was 8x8"]),
        ({"task": "image-classification"}, ["task is image-classification, was object-detection"]),
    ],
)
def test_a_contract_may_only_grow(change: dict[str, Any], words: list[str]) -> None:
    assert changes(config(), config(**change)) == words


def test_a_first_version_has_no_contract_to_keep(tmp_path: Path) -> None:
    verdict = ContractCheck().judge(None, version(tmp_path, {}))
    assert verdict.result is Result.PASS


def test_a_broken_contract_is_named_beside_the_version_before(tmp_path: Path) -> None:
    before = Version(
        replace(artifact(ModelTag("m", "v1")), config=config()), FakeRunner(ModelTag("m", "v1"), 1)
    )
    candidate = version(tmp_path, {})
    after = Version(replace(candidate.artifact, config=config(labels=["dog", "cat"])), candidate.runner)
    verdict = ContractCheck().judge(before, after)
    assert (verdict.result, verdict.numbers) == (Result.FAIL, {"changes": 1})
    assert "not as m:v1" in verdict.reason


# --- golden pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detection", "missing", "others"),
    [
        (found(), (), 0),
        (found(score=0.61), (), 0),
        (found(score=0.59), ("cat",), 1),
        (found("dog"), ("cat",), 1),
        (found(bbox=(0.1, 0.1, 0.5, 0.31)), (), 0),
        (found(bbox=(0.1, 0.1, 0.5, 0.29)), ("cat",), 1),
        (found(bbox=None), ("cat",), 0),
    ],
)
def test_a_finding_is_there_with_its_label_place_and_score(
    detection: Detection, missing: tuple[str, ...], others: int
) -> None:
    compared = compare([expected()], [detection], RULES)
    assert (compared.missing, compared.others) == (missing, others)


def test_each_finding_counts_once() -> None:
    compared = compare([expected(), expected()], [found()], RULES)
    assert (compared.expected, compared.found) == (2, 1)


def test_the_whole_picture_is_expected_where_there_are_no_boxes() -> None:
    assert compare([expected(bbox=None)], [found(bbox=None)], RULES).found == 1


def test_a_version_that_finds_what_is_expected_passes(tmp_path: Path) -> None:
    verdict = GoldenCheck().judge(None, version(tmp_path, {b"a": [found("cat")], b"b": [found("dog")]}))
    assert (verdict.result, verdict.numbers["share"]) == (Result.PASS, 1.0)


def test_permuted_labels_are_refused_with_what_is_lacking(tmp_path: Path) -> None:
    verdict = GoldenCheck().judge(None, version(tmp_path, {b"a": [found("dog")], b"b": [found("cat")]}))
    assert verdict.result is Result.FAIL
    assert "finds 0 of 2 expected objects in 2 golden pictures, 80% are needed; a lacks cat" in verdict.reason


def test_a_constant_answer_is_refused(tmp_path: Path) -> None:
    both = [found("cat"), found("dog")]
    verdict = GoldenCheck().judge(None, version(tmp_path, {b"a": both, b"b": both}))
    assert "the answer is the same for all 2 golden pictures" in verdict.reason


def test_finding_everything_everywhere_is_refused(tmp_path: Path) -> None:
    many = [found("cat", score=0.5 + number / 100) for number in range(20)]
    verdict = GoldenCheck().judge(
        None, version(tmp_path, {b"a": [found("cat"), *many], b"b": [found("dog"), *many[:1]]})
    )
    assert "finds 21 objects in 2 golden pictures that are not expected there, at most 6" in verdict.reason


def test_pictures_are_held_for_a_model_beside_its_versions_own(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(b"c")
    held = [(GoldenPicture(file="held", expected=[expected("bird")]), tmp_path / "held")]
    candidate = version(tmp_path, {b"a": [found("cat")], b"b": [found("dog")], b"c": []}, found=0.9)
    verdict = GoldenCheck(lambda _: held).judge(None, candidate)
    assert "finds 2 of 3 expected objects in 3 golden pictures" in verdict.reason


# --- latency -------------------------------------------------------------------------------------


def test_a_version_that_is_much_slower_is_refused(tmp_path: Path) -> None:
    answers: dict[bytes, Sequence[Detection]] = {b"a": [found("cat")], b"b": [found("dog")]}
    before, slow = version(tmp_path, answers), version(tmp_path, answers, seconds=0.02)
    verdict = LatencyCheck().judge(before, slow)
    assert verdict.result is Result.FAIL
    assert verdict.numbers["after_ms"] > 15
    assert LatencyCheck().judge(slow, before).result is Result.PASS
    assert LatencyCheck().judge(None, slow).result is Result.PASS
    patient = version(tmp_path, answers, seconds=0.02, slowdown=1000.0)
    assert LatencyCheck().judge(version(tmp_path, answers, seconds=0.001), patient).result is Result.PASS


# --- policies ------------------------------------------------------------------------------------


def test_golden_pictures_with_expectations_make_the_gate_bind(tmp_path: Path) -> None:
    candidate = version(tmp_path, {}).artifact
    plain = replace(candidate, config=config())
    held = [(GoldenPicture(file="c", expected=[]), tmp_path / "c")]
    assert policy_of(candidate, lambda _: ()) is GatePolicy.ENFORCE
    assert policy_of(plain, lambda _: ()) is GatePolicy.WARN
    assert policy_of(plain, lambda _: held) is GatePolicy.ENFORCE
    unasked = replace(plain, config=config(gate={"policy": "off"}))
    assert policy_of(unasked, lambda _: held) is GatePolicy.OFF
