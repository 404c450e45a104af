"""Parses multipart/form-data in memory: no temporary files, every count bounded."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hotswap.errors import BadRequest

# Problems of a form are reported to its sender and in our own log line.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_MAX_PARTS = 16
_MAX_HEADER_BYTES = 8192


@dataclass(slots=True)
class Part:
    """One part of a form. `filename` is None for a plain field."""

    name: str = ""
    filename: str | None = None
    data: bytes = b""


@dataclass(slots=True)
class PartHeaders:
    """Reads the headers of each part from the parser's callbacks: its name, and that of its file."""

    name: str = ""
    filename: str | None = None
    complete: bool = False
    header_name: bytes = b""
    header_value: bytes = b""
    header_bytes: int = 0

    def on_part_begin(self) -> None:
        self.name, self.filename, self.header_bytes = "", None, 0

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self.header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self.header_value += data[start:end]

    def _count(self, size: int) -> None:
        self.header_bytes += size
        if self.header_bytes > _MAX_HEADER_BYTES:
            raise BadRequest(f"the headers of a form part exceed {_MAX_HEADER_BYTES} bytes")

    def on_header_end(self) -> None:
        if self.header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self.header_value)
            self.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self.filename = options[b"filename"].decode("utf-8", "replace")
        self.header_name = self.header_value = b""

    def on_end(self) -> None:
        self.complete = True


@dataclass(slots=True)
class _Reader(PartHeaders):
    """Collects the parts from the parser's callbacks, which pass slices of the body."""

    parts: list[Part] = field(default_factory=list)
    chunks: list[memoryview] = field(default_factory=list)

    def on_part_begin(self) -> None:
        PartHeaders.on_part_begin(self)
        if len(self.parts) == _MAX_PARTS:
            raise BadRequest(f"the form has more than {_MAX_PARTS} parts")
        self.parts.append(Part())
        self.chunks = []

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.chunks.append(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        self.parts[-1] = Part(self.name, self.filename, b"".join(self.chunks))


def parse(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in order. Raises `BadRequest` with the problem of an invalid form."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequest("multipart/form-data needs a boundary in its Content-Type")
    reader = _Reader()
    names = "on_part_begin on_header_field on_header_value on_header_end on_part_data on_part_end on_end"
    callbacks = {name: getattr(reader, name) for name in names.split()}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest(f"the form is malformed: {error}") from None
    if not reader.complete:
        raise BadRequest("the form ends before its last boundary")
    return reader.parts
