"""What a person marked on the page of a comparison: which version is right in which picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.text import explain
from hotswap.errors import BadRequest
from manifest.version_manifest import ExpectedObject

_MOST_BYTES = 64_000_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PictureMark(_Part):
    """A picture, by its path below the compared folder and its sha256, and what is right in it.

    `expected` are the findings of the version that is right; None where neither is.
    """

    picture: Annotated[str, Field(min_length=1, max_length=2048)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    right: Literal["a", "b", "neither"]
    expected: Annotated[tuple[ExpectedObject, ...], Field(max_length=1000)] | None = None


class ComparisonMarks(_Part):
    """The file that the page saves."""

    format: Literal[1]
    folder: Annotated[str, Field(max_length=4096)] = ""
    marks: Annotated[tuple[PictureMark, ...], Field(max_length=100_000)]

    def golden(self) -> Iterator[tuple[PictureMark, Sequence[ExpectedObject]]]:
        """The pictures in which one version is right, with what is expected in them."""
        for mark in self.marks:
            if mark.right != "neither" and mark.expected is not None:
                yield mark, mark.expected


def read_marks(path: Path) -> ComparisonMarks:
    """Read a saved file. Raises `BadRequest`, naming the field and what is allowed, or `OSError`."""
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise BadRequest(f"{path} has {size} bytes; at most {_MOST_BYTES} are allowed")
    try:
        return ComparisonMarks.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadRequest(
            f"{explain(str(path), error)}; expected is what the page of a comparison saves"
        ) from None


def marked_picture(folder: Path, mark: PictureMark) -> bytes:
    """The bytes of a marked picture.

    Raises `BadRequest` where it is not the one that was compared, or `OSError`.
    """
    path = folder / mark.picture
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadRequest(f"{path} lies outside the folder")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != mark.sha256:
        raise BadRequest(f"{path} is not the picture that was compared")
    return data
