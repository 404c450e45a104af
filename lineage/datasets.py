"""Data sets: pictures chosen by a query, and held under a name against retention."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from hotswap.errors import BadRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def checked_name(name: str) -> str:
    """The name of a data set. Raises `BadRequest` for one that is no name."""
    if _NAME.fullmatch(name) is None:
        raise BadRequest("a data set has a name of 1 to 100 letters, digits, '.', '_' and '-'")
    return name


@dataclass(frozen=True, slots=True)
class PictureQuery:
    """Which pictures: each condition that is given must hold; `since` is included, `until` is not.

    With `label` or `least_confidence` a picture needs one detection that fits both.
    """

    label: str | None = None
    least_confidence: float | None = None
    device: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_flagged: bool | None = None


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """What a version found. `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture."""

    detection_id: UUID
    label: str
    confidence: float
    bbox: tuple[float, float, float, float]
    model_name: str
    model_version: str
    model_digest: str


@dataclass(frozen=True, slots=True)
class ChosenPicture:
    """A stored picture with the boxes that fit the query."""

    image_id: UUID
    device: str
    path: str
    captured_at: datetime
    width: int
    height: int
    sha256: str
    boxes: tuple[LabelledBox, ...]


class Datasets(Protocol):
    """The data sets and the pictures they are made from. Raises `RecordsUnavailable`."""

    def pictures(self, query: PictureQuery) -> Iterator[ChosenPicture]:
        """The stored pictures that fit, in the order of their acceptance; read by pages."""
        ...

    def hold(self, name: str, image_ids: Sequence[UUID], moment: datetime) -> frozenset[UUID]:
        """Add pictures to a data set; those that it holds now. Missing: retention has removed them."""
        ...

    def release(self, name: str) -> int:
        """Remove a data set, whose pictures retention may remove then; how many it had."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """The data sets and how many pictures each has."""
        ...
