"""Behind a proxy that shares its connections: whatever one client sends, nobody gets another one's answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import PICTURE, Served
from tests.clients.proxies import NAMES, proxy
from tests.e2e.exchange import exchange
from tests.e2e.framing import CHUNKED, H2C, INNER, NEXT, Raw, chunks, closing, good, head, length, refused

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=NAMES)
def port(
    request: pytest.FixtureRequest, served: Served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Where a proxy listens before the service."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    with proxy(request.param, served.service.port, folder) as listening:
        yield listening


def _get(name: str) -> bytes:
    return b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: %b\r\nConnection: close\r\n\r\n" % name.encode()


def _own_answer(port: int, name: str) -> None:
    """Another client, over the same connection to the service, gets what it has asked for."""
    answers = exchange(port, _get(name))
    assert answers.statuses == (200,), (name, answers)
    assert (answers.named(name), answers.named("inner")) == (1, 0), (name, answers)


@pytest.mark.parametrize("raw", [*good(), *closing(), *refused()], ids=lambda raw: raw.name)
def test_nothing_in_a_body_is_answered(port: int, raw: Raw) -> None:
    answers = exchange(port, raw.head + raw.body + _get("last"))
    inner = 0 if raw.framed else 1
    assert answers.named("inner") <= inner, answers
    assert len(answers.statuses) <= 2 + inner, answers
    for turn in range(3):
        _own_answer(port, f"other-{turn}")


@pytest.mark.parametrize("offer", [b"", H2C], ids=["plain", "h2c"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_picture_arrives(port: int, offer: bytes, framing: str) -> None:
    picture = PICTURE.read_bytes()
    line, body = (length(len(picture)), picture) if framing == "length" else (CHUNKED, chunks(picture))
    sent = head(offer, line, target=b"/predict?model=shapes")
    answers = exchange(port, sent, body + NEXT + _get("last"))
    assert answers.statuses == (200, 200, 200)
    assert (answers.named("next"), answers.named("last"), answers.named("inner")) == (1, 1, 0)
    assert INNER not in answers.data
