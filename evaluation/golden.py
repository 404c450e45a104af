"""Golden pictures: what a version has to find in them, how fast, and when that binds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from evaluation.average_precision import iou
from hotswap.gate import GatePolicy, Result, Verdict, Version
from hotswap.predictions import Box, Detection, Options, Picture
from hotswap.repository import Artifact
from manifest.version_manifest import ExpectedObject, GateConfig, GoldenPicture

#: Further findings that a picture may have beside as many as are expected in it.
_SPARE = 2
#: Of a comparison of times: rounds, pictures, and milliseconds by which what is slower is no reason.
_ROUNDS, _MOST_PICTURES, _LEAST = 5, 4, 5.0


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
        answers = [_answer(candidate, each) for each in examples]
        compared = [
            compare(each.expected, found, rules) for each, found in zip(examples, answers, strict=True)
        ]
        if trouble := _constant(examples, answers):
            return Verdict(Result.FAIL, trouble, {"pictures": len(examples)})
        return _verdict(examples, compared, rules)


def _answer(version: Version, example: GoldenExample) -> tuple[Detection, ...]:
    predictions = version.runner.predict([Picture(encoded=example.data)], Options())
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


class LatencyCheck:
    """Whether a version is not much slower than the one before it, on golden pictures."""

    name = "latency"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`. Times are in milliseconds."""
        examples = examples_of(candidate, self._held)[:_MOST_PICTURES]
        if current is None or not examples:
            return Verdict(Result.PASS, "there is nothing to compare with")
        pictures = [Picture(encoded=each.data) for each in examples]
        before, after = [], []
        for _ in range(_ROUNDS):
            for picture in pictures:
                before.append(_milliseconds(current, picture))
                after.append(_milliseconds(candidate, picture))
        return _compared(median(before), median(after), candidate.artifact.config.gate.slowdown)


def _milliseconds(version: Version, picture: Picture) -> float:
    begun = perf_counter()
    version.runner.predict([picture], Options())
    return (perf_counter() - begun) * 1e3


def _compared(before: float, after: float, slowdown: float) -> Verdict:
    numbers = {"before_ms": round(before, 3), "after_ms": round(after, 3)}
    said = f"takes {after:.1f} ms for a golden picture, the version before {before:.1f} ms"
    if after > slowdown * before and after - before > _LEAST:
        return Verdict(Result.FAIL, f"{said}; at most {slowdown:g} times as long is allowed", numbers)
    return Verdict(Result.PASS, said, numbers)


def policy_of(artifact: Artifact, held: HeldGolden) -> GatePolicy:
    """What its config says; left out: `enforce` where a golden picture says what is expected, else `warn`."""
    config = artifact.config
    if config.gate.policy is not None:
        return GatePolicy(config.gate.policy)
    pictures = (*config.golden, *(picture for picture, _ in held(artifact.tag.name)))
    return GatePolicy.ENFORCE if any(each.expected is not None for each in pictures) else GatePolicy.WARN
