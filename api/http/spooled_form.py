"""A form with many pictures, written to disk while it arrives: only one piece of it is in memory."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.http.multipart import Part, PartHeaders
from hotswap.errors import BadRequest
from lineage.errors import PicturesUnavailable

_PREFIX = "form-"
#: Bytes of all fields that are no pictures.
_MOST_FIELD_BYTES = 1_000_000
_MOST_FIELDS = 16


@dataclass(slots=True)
class SpooledPicture:
    """A picture of the form, in a file; `size` counts also the bytes beyond the limit, which are not kept."""

    path: Path
    filename: str | None
    size: int = 0

    def data(self) -> bytes:
        """Its bytes; the file is removed."""
        found = self.path.read_bytes()
        self.path.unlink()
        return found


@dataclass(slots=True)
class SpooledForm:
    """The pictures in their order, and the other parts. `remove` deletes what is left of it."""

    folder: Path
    pictures: list[SpooledPicture] = field(default_factory=list)
    fields: list[Part] = field(default_factory=list)

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class _Spooler(PartHeaders):
    """Writes pictures to files from the parser's callbacks, which pass slices of a piece of the body."""

    form: SpooledForm
    most: int
    most_bytes: int
    field_bytes: int = 0
    file: BinaryIO | None = None
    chunks: list[bytes] = field(default_factory=list)

    def on_part_begin(self) -> None:
        PartHeaders.on_part_begin(self)
        self.chunks = []

    def on_headers_finished(self) -> None:
        if self.name == "images":
            if len(self.form.pictures) == self.most:
                raise BadRequest(f"images: more than {self.most}; send fewer at once")
            path = self.form.folder / str(len(self.form.pictures))
            self.form.pictures.append(SpooledPicture(path, self.filename))
            self.file = path.open("wb")
        elif len(self.form.fields) == _MOST_FIELDS:
            raise BadRequest(f"the form has more than {_MOST_FIELDS} fields beside its pictures")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.file is not None:
            picture = self.form.pictures[-1]
            # One byte beyond the limit is kept, which shows that it is too large.
            self.file.write(data[start : min(end, start + max(0, self.most_bytes + 1 - picture.size))])
            picture.size += end - start
            return
        self.field_bytes += end - start
        if self.field_bytes > _MOST_FIELD_BYTES:
            raise BadRequest(f"the fields beside the pictures exceed {_MOST_FIELD_BYTES} bytes; send less")
        self.chunks.append(data[start:end])

    def on_part_end(self) -> None:
        if self.file is not None:
            self.close()
        else:
            self.form.fields.append(Part(self.name, self.filename, b"".join(self.chunks)))

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


async def spooled(
    pieces: AsyncIterable[bytes],
    content_type: str,
    folder: Path,
    *,
    most: int,
    most_bytes: int,
    let_go: Callable[[int], None],
) -> SpooledForm:
    """Read a form of at most `most` pictures in its field `images`; each is kept up to `most_bytes`.

    `let_go` gets the size of each piece on disk. Raises `BadRequest` with the problem of an invalid form,
    and `PicturesUnavailable` when the disk cannot be written; then nothing is left of it.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequest("multipart/form-data needs a boundary in its Content-Type")
    form = await anyio.to_thread.run_sync(_empty, folder)
    spooler = _Spooler(form=form, most=most, most_bytes=most_bytes)
    try:
        await _feed(_parser(boundary, spooler), pieces, let_go)
        if not spooler.complete:
            raise BadRequest("the form ends before its last boundary")
    except BaseException as error:
        spooler.close()
        form.remove()
        if isinstance(error, FormParserError):
            raise BadRequest(f"the form is malformed: {error}") from None
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise PicturesUnavailable(f"{folder} cannot be written: {error}") from None
        raise
    return form


def remove_abandoned(folder: Path, seconds: float) -> None:
    """Remove forms whose process was killed: nothing was added to them for so many seconds."""
    oldest = time.time() - seconds
    for form in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if form.stat().st_mtime < oldest:
                shutil.rmtree(form, ignore_errors=True)


def _empty(folder: Path) -> SpooledForm:
    """A form in a folder of its own below `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return SpooledForm(Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX)))
    except OSError as error:
        raise PicturesUnavailable(f"{folder} cannot be written: {error}") from None


def _parser(boundary: bytes, spooler: _Spooler) -> MultipartParser:
    names = (
        "on_part_begin on_header_field on_header_value on_header_end on_headers_finished on_part_data "
        "on_part_end on_end"
    )
    return MultipartParser(boundary, {name: getattr(spooler, name) for name in names.split()})  # type: ignore[arg-type]


async def _feed(parser: MultipartParser, pieces: AsyncIterable[bytes], let_go: Callable[[int], None]) -> None:
    async for piece in pieces:
        if piece:
            await anyio.to_thread.run_sync(parser.write, piece)
            let_go(len(piece))
    parser.finalize()
