"""Clients that offer HTTP/2 in plain text, as they come: the offer is passed over and the picture arrives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import PICTURE, PROGRAMS, Served, run
from tests.clients.showing import same

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def test_java_sends_a_picture_with_its_length_and_in_chunks(served: Served) -> None:
    java = _program("java")
    done = run(java, PROGRAMS / "Offering.java", f"http://{served.http}/predict?model=shapes", PICTURE)
    answers = json.loads(done.stdout)
    assert [status for status, _ in answers] == [200] * 6
    for turn, (_, answer) in enumerate(answers):
        assert answer["request_id"] == f"turn-{turn % 3}"
        same(answer, served)


@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunks"])
@pytest.mark.parametrize("body", ["--data-binary", "--form"])
def test_curl_sends_a_picture(served: Served, tmp_path: Path, framing: list[str], body: str) -> None:
    curl = _program("curl")
    if "HTTP2" not in run(curl, "--version").stdout:
        pytest.skip("this curl knows no HTTP/2")
    told = [body, f"@{PICTURE}", "-H", "Content-Type: image/jpeg"]
    if body == "--form":
        told = [body, f"image=@{PICTURE}"]
    url = f"http://{served.http}/predict?model=shapes"
    done = run(curl, "-sS", "--http2", "--fail-with-body", *framing, *told, url, url)
    decoder, said = json.JSONDecoder(), done.stdout
    first, end = decoder.raw_decode(said)
    second, _ = decoder.raw_decode(said[end:])
    same(first, served)
    same(second, served)
