"""Golden pictures: what a version has to find in them, and when that binds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.average_precision import iou
from hotswap.errors import ServingError
from hotswap.gate import GatePolicy, Result, Verdict, Version
from hotswap.predictions import Box, Detection, Options, Picture
from hotswap.repository import Artifact
from manifest.version_manifest import ExpectedObject, GateConfig, GoldenPicture

#: Further findings that a picture may have beside as many as are expected in it.
_SPARE = 2


@dataclass(frozen=True, slots=True)
class GoldenExample:
    """A picture with what is expected in it."""

    name: str
    data: bytes
    expected: tuple[ExpectedObject, ...]


@dataclass(frozen=True, slots=True)
class GoldenMatch:
    """One picture: how many of the expected findings are there, which are not, and how many others are."""

    expected: int
    found: int
    missing: tuple[str, ...]
    others: int


#: The golden pictures that are held for a model, beside those that its versions bring.
HeldGolden = Callable[[str], Sequence[tuple[GoldenPicture, Path]]]


def examples_of(version: Version, held: HeldGolden) -> list[GoldenExample]:
    """The pictures with expectations: those that the version brings, then those held for its model.

    Raises `OSError` where one cannot be read.
    """
    artifact = version.artifact
    own = [(golden, artifact.path / golden.file) for golden in artifact.config.golden]
    return [
        GoldenExample(golden.file, path.read_bytes(), tuple(golden.expected))
        for golden, path in (*own, *held(artifact.tag.name))
        if golden.expected is not None
    ]


def compare(
    expected: Sequence[ExpectedObject], detections: Sequence[Detection], rules: GateConfig
) -> GoldenMatch:
    """Match findings with the expected ones, each with one: those of the highest overlap first."""
    free = list(range(len(detections)))
    missing = []
    for wanted in sorted(expected, key=lambda each: -each.score):
        fitting = [index for index in free if _fits(wanted, detections[index], rules)]
        if not fitting:
            missing.append(wanted.label)
            continue
        free.remove(max(fitting, key=lambda index: _overlap(wanted.bbox, detections[index].bbox)))
    others = [index for index in free if detections[index].bbox is not None]
    return GoldenMatch(len(expected), len(expected) - len(missing), tuple(missing), len(others))


def _fits(wanted: ExpectedObject, found: Detection, rules: GateConfig) -> bool:
    near = _overlap(wanted.bbox, found.bbox) >= rules.min_iou
    return found.label == wanted.label and near and found.score >= wanted.score - rules.score_tolerance


def _overlap(first: Box | None, second: Box | None) -> float:
    """The whole picture against the whole picture is 1."""
    if first is None or second is None:
        return float(first is second)
    return iou(first, second)


class GoldenCheck:
    """Whether a version finds what is expected in its golden pictures, and hardly anything else."""

    name = "golden pictures"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:  # noqa: ARG002
        """See `Check.judge`; what answers now does not matter."""
        rules = candidate.artifact.config.gate
        examples = examples_of(candidate, self._held)
        if not examples:
            return Verdict(Result.PASS, "no golden picture says what is expected")
        options = usual_options(candidate)
        answers = []
        for each in examples:
            try:
                answers.append(_answer(candidate, each, options))
            except ServingError as error:
                return Verdict(Result.FAIL, f"it cannot answer {each.name}: {error.message}")
        compared = [
            compare(each.expected, found, rules) for each, found in zip(examples, answers, strict=True)
        ]
        if trouble := _constant(examples, answers):
            return Verdict(Result.FAIL, trouble, {"pictures": len(examples)})
        return _verdict(examples, compared, rules)


def usual_options(version: Version, threshold: float | None = None) -> Options:
    """Options that every picture can be asked with, prompts included; no threshold: the version's own."""
    trial = next(iter(version.runner.trials()), None)
    return replace(trial.options if trial is not None else Options(), threshold=threshold)


def _answer(version: Version, example: GoldenExample, options: Options) -> tuple[Detection, ...]:
    predictions = version.runner.predict([Picture(encoded=example.data)], options)
    return predictions.items[0].detections


def _constant(examples: Sequence[GoldenExample], answers: Sequence[Sequence[Detection]]) -> str | None:
    """Why answers say nothing: they are the same, though different findings are expected."""
    if len({example.expected for example in examples}) < 2 or len(set(map(tuple, answers))) > 1:
        return None
    return f"the answer is the same for all {len(examples)} golden pictures"


def _verdict(
    examples: Sequence[GoldenExample], compared: Sequence[GoldenMatch], rules: GateConfig
) -> Verdict:
    expected, found = sum(each.expected for each in compared), sum(each.found for each in compared)
    others = sum(each.others for each in compared)
    share = found / expected if expected else 1.0
    numbers = {
        "pictures": len(examples),
        "expected": expected,
        "found": found,
        "others": others,
        "share": round(share, 4),
    }
    worst = max(range(len(compared)), key=lambda index: len(compared[index].missing))
    if share < rules.found:
        lacks = ", ".join(sorted(set(compared[worst].missing))[:5])
        return Verdict(
            Result.FAIL,
            f"finds {found} of {expected} expected objects in {len(examples)} golden pictures, "
            f"{rules.found:.0%} are needed; {examples[worst].name} lacks {lacks}",
            numbers,
        )
    allowed = expected + _SPARE * len(examples)
    if others > allowed:
        return Verdict(
            Result.FAIL,
            f"finds {others} objects in {len(examples)} golden pictures that are not expected there, at most "
            f"{allowed} are allowed",
            numbers,
        )
    return Verdict(Result.PASS, f"finds {found} of {expected} expected objects", numbers)


def policy_of(artifact: Artifact, held: HeldGolden) -> GatePolicy:
    """What its config says; left out: `enforce` where something says what is expected, else `warn`.

    That is a golden picture with expectations, or a bound for the agreement with the version before.
    """
    config = artifact.config
    if config.gate.policy is not None:
        return GatePolicy(config.gate.policy)
    if config.gate.agreement is not None or states_expectations(artifact, held):
        return GatePolicy.ENFORCE
    return GatePolicy.WARN


def states_expectations(artifact: Artifact, held: HeldGolden) -> bool:
    """Whether a golden picture says what is expected in it."""
    pictures = (*artifact.config.golden, *(picture for picture, _ in held(artifact.tag.name)))
    return any(each.expected is not None for each in pictures)
