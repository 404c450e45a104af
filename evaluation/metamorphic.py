"""Checks without labels: changes of a picture that its objects should survive, and agreement of two versions.

A changed picture is answered like the picture it was made of, the boxes moved alike: mirrored, shifted, a
little brighter, compressed harder (metamorphic relations; Chen, Cheung and Yiu, 1998, HKUST-CS98-01).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.evidence import TOLERANCE, AtHand, answer, at_hand, sure, within_time
from evaluation.golden import HeldGolden, states_expectations, usual_options
from evaluation.likeness import Rules, Tally, likeness, total
from hotswap.gate import Result, Verdict, Version
from hotswap.predictions import Box, Picture, Prediction
from runners.check_images import as_jpeg, pixels_of

Pixels = NDArray[np.uint8]

_SHIFT, _BRIGHTER, _QUALITY = 0.04, 1.15, 60
#: Share from which on findings are said to follow a change.
_FOLLOWS = 0.5
#: Pictures that are changed, and pixels that one of them may have.
_MOST_CHANGED, _MAX_PIXELS = 4, 50_000_000
#: Tasks whose answers have no labels: those of two versions may be other numbers and as good.
_NOT_COMPARED = ("image-embedding", "tensors", "custom")
#: The bound of the agreement where nobody has said what is expected.
USUAL_AGREEMENT = 0.5


@dataclass(frozen=True, slots=True)
class Relation:
    """A change of pixels [height, width, 3], and where it moves a box."""

    change: Callable[[Pixels], Picture]
    move: Callable[[Box], Box] = lambda box: box


def mirrored(box: Box) -> Box:
    """A box in the picture that is mirrored left to right."""
    return 1 - box[2], box[1], 1 - box[0], box[3]


def shifted(box: Box) -> Box:
    """A box in the picture whose content has moved right and down."""
    left, top, right, bottom = (min(1.0, side + _SHIFT) for side in box)
    return left, top, right, bottom


def _mirror(pixels: Pixels) -> Picture:
    return Picture(pixels=np.ascontiguousarray(pixels[:, ::-1]))


def _shift(pixels: Pixels) -> Picture:
    """The content right and down; what comes in at the edges repeats them."""
    height, width, _ = pixels.shape
    down, right = round(_SHIFT * height), round(_SHIFT * width)
    padded = np.pad(pixels, ((down, 0), (right, 0), (0, 0)), mode="edge")
    return Picture(pixels=np.ascontiguousarray(padded[:height, :width]))


def _brighten(pixels: Pixels) -> Picture:
    return Picture(pixels=np.minimum(pixels * _BRIGHTER, 255).astype(np.uint8))


def _compress(pixels: Pixels) -> Picture:
    return Picture(encoded=as_jpeg(pixels, _QUALITY))


RELATIONS: Mapping[str, Relation] = {
    "mirrored": Relation(_mirror, mirrored),
    "shifted": Relation(_shift, shifted),
    "brighter": Relation(_brighten),
    "compressed": Relation(_compress),
}


def moved(prediction: Prediction, relation: Relation) -> Prediction:
    """The answer for a picture as it should be for the changed one."""
    detections = tuple(
        each if each.bbox is None else replace(each, bbox=relation.move(each.bbox))
        for each in prediction.detections
    )
    return replace(prediction, detections=detections)


def fallen(candidate: Tally, current: Tally) -> bool:
    """Whether the candidate follows a change less often than the current version, beyond chance."""
    return candidate.interval[1] < current.interval[0]


def too_few(candidate: Tally, current: Tally) -> bool:
    """Whether the candidate has so few findings that it could not have failed, whatever they did.

    Where the current version's do not follow either, nothing is lost by that.
    """
    return current.share > _FOLLOWS and not fallen(replace(candidate, alike=0.0), current)


class MetamorphicCheck:
    """Whether findings follow their picture when it is changed, as those of the current version do."""

    name = "metamorphic"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`. A version that is not proof against a change may be replaced by another such."""
        pictures = at_hand(current, candidate, self._held)[:_MOST_CHANGED]
        if current is None or candidate.artifact.config.picture is None or not pictures:
            return Verdict(Result.PASS, "there is nothing to compare with")
        after, before = _followed(candidate, pictures), _followed(current, pictures)
        numbers = {name: round(tally.share, 4) for name, tally in after.items()}
        numbers |= {f"{name}_before": round(tally.share, 4) for name, tally in before.items()}
        numbers["objects"] = after["mirrored"].objects
        lost = [name for name in RELATIONS if fallen(after[name], before[name])]
        if lost:
            name = lost[0]
            return Verdict(
                Result.FAIL,
                f"{_counted(after[name])} findings follow when a picture is {name}, with "
                f"{current.artifact.tag} {_counted(before[name])}",
                numbers,
            )
        few = [name for name in RELATIONS if too_few(after[name], before[name])]
        if few and not states_expectations(candidate.artifact, self._held):
            needed = after[few[0]].pictures_needed(before[few[0]].interval[0])
            return Verdict(
                Result.INCONCLUSIVE,
                f"{after[few[0]].objects} findings in {after[few[0]].pictures} pictures are too few to say "
                f"whether they follow; about {needed} more pictures with something in them are needed "
                "(okawari golden add)",
                numbers | {"pictures_needed": needed},
            )
        shares = ", ".join(f"{name} {after[name].share:.0%}" for name in RELATIONS)
        return Verdict(Result.PASS, f"findings follow as with {current.artifact.tag}: {shares}", numbers)


def _counted(tally: Tally) -> str:
    return f"{tally.alike:.0f} of {tally.objects}"


def _followed(version: Version, pictures: Sequence[AtHand]) -> dict[str, Tally]:
    """How many findings follow each change. Raises `ServingError`."""
    size, rules = _size(version), _rules(version)
    options = usual_options(version, max(0.0, rules.sure - TOLERANCE))
    tallies = dict.fromkeys(RELATIONS, Tally())
    for each in within_time(pictures):
        pixels = pixels_of(each.picture, size, _MAX_PIXELS)
        before = answer(version, Picture(pixels=pixels), options)
        for name, relation in RELATIONS.items():
            after = answer(version, relation.change(pixels), options)
            tallies[name] += likeness(moved(before, relation), after, rules)
    return tallies


def _size(version: Version) -> tuple[int, int]:
    size = version.artifact.config.input
    return size.width, size.height


def _rules(version: Version) -> Rules:
    return Rules(version.artifact.config.gate.min_iou, sure(version))


class AgreementCheck:
    """Whether a version finds what the current one finds, as far as somebody has set a bound."""

    name = "agreement"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`."""
        config = candidate.artifact.config
        if current is None or config.picture is None:
            return Verdict(Result.PASS, "there is nothing to compare with")
        if config.task in _NOT_COMPARED:
            return Verdict(
                Result.PASS, f"answers of the task {config.task} cannot be compared between versions"
            )
        bound = config.gate.agreement
        if bound is None and not states_expectations(candidate.artifact, self._held):
            bound = USUAL_AGREEMENT
        tally = _agreed(current, candidate, at_hand(current, candidate, self._held))
        return agreement(tally, bound, str(current.artifact.tag))


def _agreed(current: Version, candidate: Version, pictures: Sequence[AtHand]) -> Tally:
    rules = replace(_rules(candidate), sure=max(sure(current), sure(candidate)))
    least = max(0.0, min(sure(current), sure(candidate)) - TOLERANCE)
    asked = [(version, usual_options(version, least)) for version in (current, candidate)]
    tallies = []
    for each in within_time(pictures):
        before, after = (answer(version, each.picture, options) for version, options in asked)
        tallies.append(likeness(before, after, rules))
    return total(tallies)


def agreement(tally: Tally, bound: float | None, tag: str) -> Verdict:
    """The verdict on what two versions have in common; without a bound it is only reported."""
    low, high = tally.interval
    numbers = {
        "alike": tally.alike,
        "objects": tally.objects,
        "pictures": tally.pictures,
        "share": round(tally.share, 4),
    }
    said = f"agrees with {tag} on {_counted(tally)} objects in {tally.pictures} pictures"
    if bound is None:
        return Verdict(Result.PASS, said, numbers)
    numbers["bound"] = bound
    if high < bound:
        return Verdict(Result.FAIL, f"{said}; {bound:.0%} are needed", numbers)
    if low >= bound:
        return Verdict(Result.PASS, said, numbers)
    needed = tally.pictures_needed(bound)
    numbers["pictures_needed"] = needed
    return Verdict(
        Result.INCONCLUSIVE,
        f"{said}: too few to decide about {bound:.0%}; about {needed} more pictures with something in them "
        "are needed (okawari golden add)",
        numbers,
    )
