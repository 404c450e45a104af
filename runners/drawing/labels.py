"""The placement of labels: inside the picture, beside their boxes, without overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Detection
from runners.drawing.palette import GREY, Colour, colour_of
from runners.drawing.text import heights, in_letters, shortened, width, writable

#: A rectangle in pixels: left, top, right, bottom; the last two are the first pixels outside.
Area = tuple[int, int, int, int]

NOTHING = "nothing found"
_SMALLEST_TEXT = 7


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in pixels. `text` is 0 when the picture is too small for letters."""

    width: int
    height: int
    text: int
    line: int
    pad: int
    row: int

    @classmethod
    def of(cls, width: int, height: int) -> Sizes:
        """Sizes in proportion to the picture: letters of 1/40 of its side, but at least 10 pixels."""
        side = math.sqrt(width * height)
        line = max(1, round(side / 240))
        text = min(max(10, round(side / 40)), min(width, height) // 4)
        if text < _SMALLEST_TEXT:
            return cls(width, height, text=0, line=line, pad=0, row=0)
        pad = max(1, text // 6)
        row = sum(heights(text)) + 2 * pad
        return cls(width, height, text, line, pad, row)


@dataclass(frozen=True, slots=True)
class Tag:
    """A line of text on a background; `score` is at its right end."""

    area: Area
    colour: Colour
    text: str
    score: str = ""


def panel(whole: Sequence[Detection], sizes: Sizes) -> list[Tag]:
    """Labels of the whole picture, the best first, as rows in the upper left corner.

    They cover at most half of the height, but at least one row.
    """
    rows = whole[: max(1, sizes.height // 2 // sizes.row)]
    texts = [writable(row.label, row.label_id) for row in rows]
    scores = [f"{row.score:.2f}" for row in rows]
    gap = 3 * sizes.pad
    room = sizes.width - 2 * sizes.pad - gap - width("0.00", sizes.text)
    if room < width("mm", sizes.text):
        room, gap, scores = sizes.width - 2 * sizes.pad, 0, [""] * len(rows)
    texts = [shortened(text, sizes.text, room) for text in texts]
    widest = max(
        width(text, sizes.text) + gap + width(score, sizes.text)
        for text, score in zip(texts, scores, strict=True)
    )
    return [
        Tag(_row(i, widest, sizes), colour_of(row.label), text, score)
        for i, (row, text, score) in enumerate(zip(rows, texts, scores, strict=True))
    ]


def nothing(sizes: Sizes) -> Tag:
    """The remark of a prediction without detections."""
    text = shortened(NOTHING, sizes.text, sizes.width - 2 * sizes.pad)
    return Tag(_row(0, width(text, sizes.text), sizes), GREY, text)


def _row(number: int, inner: int, sizes: Sizes) -> Area:
    right = min(inner + 2 * sizes.pad, sizes.width)
    return 0, number * sizes.row, right, (number + 1) * sizes.row


class Labels:
    """Finds a free place for each label; call it for the most important label first."""

    def __init__(self, sizes: Sizes, taken: Sequence[Tag]) -> None:
        self._sizes = sizes
        self._taken: list[Area] = [tag.area for tag in taken]

    def beside(self, detection: Detection, box: Area) -> Tag | None:
        """The label of a box, without its score if that is too long; None without a free place."""
        for text in self._texts(detection):
            inner = width(text, self._sizes.text)
            area = self._free(_places(box, inner + 2 * self._sizes.pad, self._sizes))
            if area is not None:
                self._taken.append(area)
                return Tag(area, colour_of(detection.label), text)
        return None

    def _texts(self, detection: Detection) -> Iterator[str]:
        room = self._sizes.width - 2 * self._sizes.pad
        name = writable(detection.label, detection.label_id)
        full = f"{name} {detection.score:.2f}"
        for text in (_with_phrase(name, detection), full):
            if text is not None and width(text, self._sizes.text) <= room:
                yield text
        yield shortened(name, self._sizes.text, room)

    def _free(self, places: NDArray[np.int64]) -> Area | None:
        """The first of the places [N, 4] without another label."""
        if not self._taken:
            return _area(places[0])
        taken = np.array(self._taken)
        apart = (
            (places[:, None, 0] >= taken[:, 2])
            | (places[:, None, 2] <= taken[:, 0])
            | (places[:, None, 1] >= taken[:, 3])
            | (places[:, None, 3] <= taken[:, 1])
        )
        free = np.flatnonzero(apart.all(axis=1))
        return _area(places[free[0]]) if free.size else None


def _with_phrase(name: str, detection: Detection) -> str | None:
    """The label with the words that named it, where these are others and can be written."""
    phrase = in_letters(detection.phrase or "")
    return None if phrase in (None, name) else f"{name} ({phrase}) {detection.score:.2f}"


def _area(row: NDArray[np.int64]) -> Area:
    left, top, right, bottom = row.tolist()
    return left, top, right, bottom


def _places(box: Area, breadth: int, sizes: Sizes) -> NDArray[np.int64]:
    """Candidate places [N, 4] for a label, the best first, all inside the picture: above the box, below
    it, then down its left and right edges."""
    left, top, right, bottom = box
    breadth, high = min(breadth, sizes.width), sizes.row
    down = range(top, max(top + 1, bottom - high + 1), high)
    corners = [
        *((x, y) for y in (top - high, bottom) for x in (left, right - breadth)),
        *((x, y) for y in list(down)[:8] for x in (left, right - breadth)),
        *((x, top) for x in (left - breadth, right)),
    ]
    first = np.clip(np.array(corners), 0, (sizes.width - breadth, max(0, sizes.height - high)))
    return np.hstack([first, first + np.array([breadth, high])])
