"""Which format a caller takes, and a picture that is sent at the caller's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from api.budget import ByteBudget
from api.context import RequestContext, current
from api.errors import NotAcceptable
from api.http.image_response import OFFERED, Annotator, acceptable
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from hotswap.errors import PictureTooLarge
from hotswap.predictions import Answer, Options, Picture, Prediction, Predictions, Timings
from runners.drawing.draw import MEDIA_TYPES
from tests.api.shape import refused

JPEG, PNG, WEBP = OFFERED
_FOUND = Predictions((Prediction((), "v1", 8, 8),), Timings())
_ANSWER = Answer(
    request_id="r",
    model="m",
    version="v1",
    digest="sha256:1",
    generation=3,
    task="object-detection",
    predictions=_FOUND.items,
    queue_ms=0.0,
    stages=Timings(),
    total_ms=0.0,
)


class TestAccept:
    @pytest.mark.parametrize(
        ("headers", "wanted"),
        [
            ([], [JPEG, PNG, WEBP]),
            ([""], [JPEG, PNG, WEBP]),
            (["*/*"], [JPEG, PNG, WEBP]),
            (["image/*"], [JPEG, PNG, WEBP]),
            (["image/png"], [PNG]),
            (["IMAGE/PNG"], [PNG]),
            (["image/jpg"], [JPEG]),
            (["image/png;q=0.5, image/webp;q=0.8"], [WEBP, PNG]),
            (["image/webp", "image/png;q=0.9"], [WEBP, PNG]),
            (["image/png;q=0.5,*/*;q=0.1"], [PNG, JPEG, WEBP]),
            (["image/jpeg;q=0,*/*"], [PNG, WEBP]),
            (["*/*, image/jpeg;q=0"], [PNG, WEBP]),
            (["image/*;q=0.2, */*"], [JPEG, PNG, WEBP]),
            (["image/*;q=0, image/webp"], [WEBP]),
            # What browsers send.
            (["text/html,image/avif,image/webp,*/*;q=0.8"], [WEBP, JPEG, PNG]),
            (["image/avif,image/webp,image/apng,image/*,*/*;q=0.8"], [JPEG, PNG, WEBP]),
            (["image/png; q=0.3 ; level=1"], [PNG]),
            # What cannot be read is passed over.
            (["image/png;q=much, image/webp"], [WEBP]),
            (["image/png;q=2, image/webp;q=nan, image/jpeg"], [JPEG]),
            ([",,;;,image/png"], [PNG]),
        ],
    )
    def test_the_most_wanted_comes_first(self, headers: list[str], wanted: list[str]) -> None:
        assert acceptable(headers) == tuple(wanted)

    @pytest.mark.parametrize(
        "header",
        ["application/json", "image/gif", "image/avif, text/*", "*/*;q=0", "image/*;q=0.0,*/*", ";", "image"],
    )
    def test_nothing_to_offer_is_told_with_what_is_offered(self, header: str) -> None:
        with pytest.raises(NotAcceptable, match="image/jpeg, image/png, image/webp"):
            acceptable([header])

    @given(st.lists(st.text(max_size=60), max_size=3))
    def test_no_header_breaks_it(self, headers: list[str]) -> None:
        with suppress(NotAcceptable):
            assert set(acceptable(headers)) <= set(OFFERED)

    def test_what_is_offered_can_be_drawn(self) -> None:
        assert OFFERED == MEDIA_TYPES


class _Caller:
    """Takes pieces when it is told to."""

    def __init__(self, takes: int = 1000) -> None:
        self.taken: list[bytes] = []
        self.held: list[int] = []
        self.started = 0
        self._takes = takes

    async def answer(self, size: int, store: ByteBudget, patience: float = 5.0) -> None:
        def draw(
            picture: Picture, found: Prediction, options: Options, media_types: Sequence[str]
        ) -> tuple[str, bytes]:
            assert (picture.encoded, found, media_types) == (b"x", _FOUND.items[0], (PNG,))
            assert options == Options()
            return PNG, bytes(range(256)) * (size // 256)

        current.set(RequestContext("r", 0.0, accepted=(PNG,)))
        drawing = Annotator(draw, store, patience).drawing(Picture(encoded=b"x"), Options())
        drawing(_FOUND)
        response = drawing.response(_ANSWER)
        assert response.headers["content-length"] == str(size)

        async def send(message: Message) -> None:
            self.held.append(store.held)
            self.started += message["type"] == "http.response.start"
            if "body" in message:
                if len(self.taken) == self._takes:
                    await asyncio.Event().wait()
                self.taken.append(message["body"])

        await response({"type": "http"}, _nobody, send)


async def _nobody() -> Message:
    raise AssertionError("nobody reads")


class TestSending:
    def test_it_goes_in_pieces_and_counts_as_held_until_it_is_gone(self) -> None:
        caller, store = _Caller(), ByteBudget(1_000_000)
        asyncio.run(caller.answer(655_360, store))
        assert b"".join(caller.taken) == bytes(range(256)) * 2560
        assert max(len(piece) for piece in caller.taken) <= 262_144
        assert set(caller.held) == {655_360}
        assert store.held == 0

    def test_a_caller_that_takes_nothing_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.http.image_response._SLOWEST", 10**9)
        caller, store = _Caller(takes=1), ByteBudget(1_000_000)
        asyncio.run(caller.answer(655_360, store, patience=0.05))
        assert (len(caller.taken), store.held) == (1, 0)

    def test_where_too_many_wait_to_be_taken_the_next_is_refused(self) -> None:
        store = ByteBudget(600_000)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            state = current.get()
            state.accepted = (PNG,)
            drawing = Annotator(lambda *_: (PNG, bytes(655_360)), store, 5.0).drawing(
                Picture(encoded=b"x"), Options()
            )
            drawing(_FOUND)
            await drawing.response(_ANSWER)(scope, receive, send)

        refused(_ask(app), 429, "overloaded")
        assert store.held == 0

    def test_one_that_nobody_sends_is_held_no_longer_than_it_lives(self) -> None:
        store = ByteBudget(600_000)
        current.set(RequestContext("r", 0.0, accepted=(PNG,)))
        drawing = Annotator(lambda *_: (PNG, bytes(500_000)), store, 5.0).drawing(
            Picture(encoded=b"x"), Options()
        )
        drawing(_FOUND)
        unsent = drawing.response(_ANSWER)
        assert store.held == 500_000
        del unsent
        assert store.held == 0

    def test_what_the_drawing_refuses_goes_on(self) -> None:
        def draw(*_: object) -> tuple[str, bytes]:
            raise PictureTooLarge("too wide")

        current.set(RequestContext("r", 0.0, accepted=(PNG,)))
        with pytest.raises(PictureTooLarge):
            Annotator(draw, ByteBudget(1), 5.0).drawing(Picture(encoded=b"x"), Options())(_FOUND)


class _Nobody:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Not counted."""


def _ask(app: object) -> httpx.Response:
    parts = MiddlewareOptions(
        max_body_bytes=10,
        bodies=ByteBudget(100),
        request_timeout=5,
        not_ready=lambda: None,
        draining=lambda: False,
        observer=_Nobody(),
    )

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(RequestMiddleware(app, parts))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/x")

    return asyncio.run(ask())
