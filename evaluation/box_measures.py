"""Measures of detections: AP where the truth is known, matched findings elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from evaluation.answers import PairedAnswer
from evaluation.coco_metrics import AREAS, LabelMatch, PictureMatcher, figures, mean_figures
from evaluation.coco_truth import CocoTruth
from evaluation.measures import BothFigures, Figure, SideFigures, mask_overlap, mean, truth_in_shares
from evaluation.transitions import SAME_PLACE, Findings, Transition, box_overlap, picture_transitions
from hotswap.predictions import Detection


class BoxMeasures:
    """Detections: AP where the truth is known, matched findings elsewhere."""

    main = "ap50"

    def __init__(
        self,
        answers: Sequence[PairedAnswer],
        thresholds: tuple[float, float],
        truth: CocoTruth | None,
        labels: frozenset[str],
    ) -> None:
        """`labels` are those of which the truth says something and that one of the versions knows."""
        self._answers = answers
        self._thresholds = thresholds
        self._labels = labels
        self._truths = [truth.of_picture(each.name) if truth else None for each in answers]
        self._matchers = [
            None
            if known is None
            else tuple(PictureMatcher(each.detections, known, labels) for each in (answer.a, answer.b))
            for answer, known in zip(answers, self._truths, strict=True)
        ]
        self._matches: dict[str, list[tuple[Mapping[str, LabelMatch], ...] | None]] = {}
        self._shared: dict[int, tuple[int, int, list[float]]] = {}

    def figures(self, rows: Sequence[int], area: str = "all") -> BothFigures:
        """See `TaskMeasures.figures`; of objects of one area of `AREAS`."""
        pairs = [pair for row in rows if (pair := self._matched(area)[row]) is not None]
        a, b = (
            figures([pair[side] for pair in pairs], self._labels, self._thresholds[side], area)
            for side in (0, 1)
        )
        both = [
            SideFigures(mean_figures(each), {label: asdict(row) for label, row in each.items()})
            for each in (a, b)
        ]
        return both[0], both[1]

    def agreement(self, rows: Sequence[int]) -> Mapping[str, Figure]:
        """See `TaskMeasures.agreement`: the share of reported findings that the other version reports, too.

        `mask_iou` is the mean overlap of the masks of such pairs, where there are masks.
        """
        shared, count, masks = 0, 0, list[float]()
        for row in rows:
            if row not in self._shared:
                self._shared[row] = _shared(*self._findings(row))
            shared += self._shared[row][0]
            count += self._shared[row][1]
            masks += self._shared[row][2]
        values: dict[str, Figure] = {"agreement": shared / count if count else None}
        return values | ({"mask_iou": mean(masks)} if masks else {})

    def transitions(self, row: int) -> list[Transition]:
        """See `TaskMeasures.transitions`."""
        a, b = self._findings(row)
        return picture_transitions(a, b, truth_in_shares(self._truths[row], self._labels))

    def has_truth(self, row: int) -> bool:
        """Whether the truth of a picture is known."""
        return self._truths[row] is not None

    def _findings(self, row: int) -> tuple[Findings, Findings]:
        answer = self._answers[row]
        return (
            Findings(answer.a.detections, self._thresholds[0]),
            Findings(answer.b.detections, self._thresholds[1]),
        )

    def _matched(self, area: str) -> list[tuple[Mapping[str, LabelMatch], ...] | None]:
        if area not in self._matches:
            self._matches[area] = [
                None if pair is None else tuple(each.matches(area) for each in pair)
                for pair in self._matchers
            ]
        return self._matches[area]

    def sizes(self, rows: Sequence[int]) -> dict[str, BothFigures]:
        """The figures of small, medium and large objects."""
        return {area: self.figures(rows, area) for area in AREAS if area != "all"}


def _shared(a: Findings, b: Findings) -> tuple[int, int, list[float]]:
    """Of the reported findings those that both have, all, and the overlaps of the masks of such pairs."""
    first, second = a.reported, b.reported
    pairs = _pairs(first, second)
    masks = [mask_overlap(one.mask, other.mask) for one, other in pairs if one.mask and other.mask]
    return 2 * len(pairs), len(first) + len(second), masks


def _pairs(first: Sequence[Detection], second: Sequence[Detection]) -> list[tuple[Detection, Detection]]:
    """Findings of one label at one place, each with one, by falling score of the first."""
    free = list(second)
    pairs = []
    for one in first:
        fitting = [each for each in free if each.label == one.label]
        best = max(fitting, key=lambda each: box_overlap(one.bbox, each.bbox), default=None)
        if best is not None and box_overlap(one.bbox, best.bbox) >= SAME_PLACE:
            free.remove(best)
            pairs.append((one, best))
    return pairs
