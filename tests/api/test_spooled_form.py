"""Forms with many pictures go to disk as they arrive; broken ones leave nothing there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from api.http.spooled_form import SpooledForm, spooled
from hotswap.errors import BadRequest

_TYPE = "multipart/form-data; boundary=x"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    """A part of a form."""
    file = "" if filename is None else f'; filename="{filename}"'
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"


def read(body: bytes, folder: Path, *, piece: int = 7, most: int = 3, most_bytes: int = 100) -> SpooledForm:
    """The form of a body that arrives in pieces."""
    gone: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    async def work() -> SpooledForm:
        return await spooled(pieces(), _TYPE, folder, most=most, most_bytes=most_bytes, let_go=gone.append)

    form = anyio.run(work)
    assert sum(gone) == len(body)
    return form


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_pictures_lie_on_disk_and_fields_in_memory(tmp_path: Path, piece: int) -> None:
    body = (
        part("device_id", b"c")
        + part("images", b"one", "a.jpg")
        + part("images", b"", "b.jpg")
        + b"--x--\r\n"
    )
    form = read(body, tmp_path, piece=piece)
    assert [(each.filename, each.size) for each in form.pictures] == [("a.jpg", 3), ("b.jpg", 0)]
    assert form.pictures[0].data() == b"one"
    assert [(each.name, each.data) for each in form.fields] == [("device_id", b"c")]
    form.remove()
    assert list(tmp_path.iterdir()) == []


def test_of_a_picture_that_is_too_large_one_byte_more_than_allowed_is_kept(tmp_path: Path) -> None:
    form = read(part("images", b"y" * 500, "a.jpg") + part("images", b"z", "b.jpg") + b"--x--\r\n", tmp_path)
    assert [each.size for each in form.pictures] == [500, 1]
    assert len(form.pictures[0].data()) == 101


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (part("images", b"a", "a") * 4 + b"--x--\r\n", "more than 3"),
        (part("images", b"a", "a"), "last boundary"),
        (b"no form at all", "malformed"),
        (part("device_id", b"d" * 1_100_000) + b"--x--\r\n", "fields beside"),
        (b"".join(part(f"f{n}", b"") for n in range(17)) + b"--x--\r\n", "more than 16"),
        (b"--x\r\nA: " + b"b" * 9_000 + b"\r\n\r\n\r\n--x--\r\n", "header"),
    ],
)
def test_a_form_that_is_refused_leaves_no_file(tmp_path: Path, body: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        read(body, tmp_path, piece=1000)
    assert list(tmp_path.iterdir()) == []
