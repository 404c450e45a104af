"""Ground truth from a COCO instances file: which objects are where, picture by picture.

The format is that of https://cocodataset.org/#format-data, object detection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from common.text import explain
from hotswap.errors import BadRequest
from hotswap.predictions import Box

#: Larger files and longer lists are refused.
MOST_BYTES = 512_000_000
_MOST_PICTURES, _MOST_OBJECTS, _MOST_CATEGORIES = 200_000, 2_000_000, 10_000

_Side = Annotated[int, Field(ge=1, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Image(_Part):
    id: int
    file_name: Annotated[str, Field(min_length=1, max_length=1024)]
    width: _Side
    height: _Side


class _Annotation(_Part):
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    area: FiniteFloat | None = None
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0


class _Category(_Part):
    id: int
    name: Annotated[str, Field(min_length=1, max_length=200)]


class _Instances(_Part):
    images: Annotated[tuple[_Image, ...], Field(max_length=_MOST_PICTURES)]
    annotations: Annotated[tuple[_Annotation, ...], Field(max_length=_MOST_OBJECTS)]
    categories: Annotated[tuple[_Category, ...], Field(max_length=_MOST_CATEGORIES)]


@dataclass(frozen=True, slots=True)
class TrueObject:
    """An object: `bbox` is x1, y1, x2, y2 in pixels of the upright picture, `area` in square pixels.

    A `crowd` is a region with many objects of the label, which are not marked one by one.
    """

    label: str
    bbox: Box
    area: float
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class TruePicture:
    """All objects of a picture of `width` and `height` pixels."""

    name: str
    width: int
    height: int
    objects: tuple[TrueObject, ...]


@dataclass(frozen=True, slots=True)
class CocoTruth:
    """Pictures by their file names, in the file's order, and the labels that are marked in them."""

    pictures: Mapping[str, TruePicture]
    labels: frozenset[str]
    _by_stem: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pictures: Sequence[TruePicture], labels: Sequence[str]) -> CocoTruth:
        """Truth from its parts."""
        return cls({each.name: each for each in pictures}, frozenset(labels), _unique_names(pictures))

    def of_picture(self, path: str) -> TruePicture | None:
        """What is in the picture at a relative path; COCO's file names often lack the folder."""
        return self.pictures.get(path) or self.pictures.get(self._by_stem.get(PurePosixPath(path).name, ""))


def read_coco(path: Path) -> CocoTruth:
    """Read an instances file. Raises `BadRequest`, naming the field and what is allowed, or `OSError`."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadRequest(f"{path} has {size} bytes; at most {MOST_BYTES} are allowed")
    try:
        document = _Instances.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadRequest(f"{explain(str(path), error)}; expected is a COCO instances file") from None
    return _truth(path, document)


def _truth(path: Path, document: _Instances) -> CocoTruth:
    categories = {each.id: each.name for each in document.categories}
    objects: dict[int, list[TrueObject]] = {each.id: [] for each in document.images}
    for index, each in enumerate(document.annotations):
        if each.category_id not in categories or each.image_id not in objects:
            what = "category" if each.category_id not in categories else "image"
            number = each.category_id if what == "category" else each.image_id
            raise BadRequest(f"{path}: annotations.{index}: there is no {what} with id {number}")
        objects[each.image_id].append(_object(each, categories[each.category_id]))
    pictures = [
        TruePicture(each.file_name, each.width, each.height, tuple(objects[each.id]))
        for each in document.images
    ]
    return CocoTruth.of(pictures, list(categories.values()))


def _object(annotation: _Annotation, label: str) -> TrueObject:
    x, y, width, height = annotation.bbox
    area = width * height if annotation.area is None else annotation.area
    return TrueObject(label, (x, y, x + width, y + height), area, bool(annotation.iscrowd))


def _unique_names(pictures: Sequence[TruePicture]) -> dict[str, str]:
    """File name without its folder → whole name; names that several pictures have are left out."""
    names: dict[str, str | None] = {}
    for name, whole in _names(pictures):
        names[name] = None if name in names else whole
    return {name: whole for name, whole in names.items() if whole is not None}


def _names(pictures: Sequence[TruePicture]) -> Iterator[tuple[str, str]]:
    for each in pictures:
        yield PurePosixPath(each.name).name, each.name
