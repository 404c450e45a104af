"""Annotated pictures as answers: content negotiation, drawing, and sending to slow clients."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterator, Sequence
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import context
from api.budget import ByteBudget
from api.errors import NotAcceptable
from api.http import schemas
from hotswap.predictions import Answer, Options, Picture, Prediction, Predictions

logger = logging.getLogger("bentoml.okawari.http")

#: The media types of annotated pictures, the default first.
OFFERED = ("image/jpeg", "image/png", "image/webp")

_PIECE = 262_144
#: Bytes per second; the connection of a slower client is closed.
_SLOWEST = 100_000


class Draw(Protocol):
    """Draws a prediction and the prompt in `options`; returns media type and bytes in the first of
    `media_types` that can hold it."""

    def __call__(
        self, picture: Picture, prediction: Prediction, options: Options, media_types: Sequence[str]
    ) -> tuple[str, bytes]:
        """Slow: call it in a thread. Raises `PictureTooLarge`."""
        ...


# --- content negotiation -------------------------------------------------------------------------


def acceptable(headers: Sequence[str]) -> tuple[str, ...]:
    """The offered media types that the `Accept` headers allow, the most preferred first.

    RFC 9110, 12.5.1: the most specific range counts, q=0 forbids. No header allows all. An invalid
    range is ignored. Raises `NotAcceptable` when none is left.
    """
    text = ",".join(headers)
    if not text.strip():
        return OFFERED
    ranges = dict(sorted(_ranges(text), key=lambda item: item[1]))
    qualities = {offer: _quality(offer, ranges) for offer in OFFERED}
    allowed = tuple(offer for offer in OFFERED if qualities[offer] > 0)
    if not allowed:
        raise NotAcceptable(f"Accept {text[:100]!r}: offered are {', '.join(OFFERED)}")
    return tuple(sorted(allowed, key=lambda offer: -qualities[offer]))


def _ranges(text: str) -> Iterator[tuple[str, float]]:
    """The media ranges of an Accept header with their qualities."""
    for item in text.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        words = [part[2:] for part in parameters if part.startswith("q=")]
        try:
            quality = float(words[0]) if words else 1.0
        except ValueError:
            continue
        if 0.0 <= quality <= 1.0:
            yield "image/jpeg" if name == "image/jpg" else name, quality


def _quality(offer: str, ranges: dict[str, float]) -> float:
    return next((ranges[name] for name in (offer, "image/*", "*/*") if name in ranges), 0.0)


# --- drawing and sending -------------------------------------------------------------------------


class Annotator:
    """Draws pictures. `budget` bounds the bytes of pictures being sent, `timeout` the time of sending."""

    def __init__(self, draw: Draw, budget: ByteBudget, timeout: float) -> None:
        self.draw = draw
        self.budget = budget
        self.timeout = timeout

    def drawing(self, picture: Picture, options: Options) -> Drawing:
        """The drawing for the current request, whose `Accept` has been read."""
        return Drawing(self, picture, options, context.current.get().accepted)


class Drawing:
    """The drawing of one request: called in the model's thread; `response` then returns the result."""

    def __init__(
        self, annotator: Annotator, picture: Picture, options: Options, media_types: Sequence[str]
    ) -> None:
        self._annotator = annotator
        self._picture = picture
        self._options = options
        self._media_types = media_types
        self._drawn: tuple[str, bytes] = ("", b"")

    def __call__(self, predictions: Predictions) -> None:
        """Draw the prediction. Raises as `Draw` does."""
        (prediction,) = predictions.items
        self._drawn = self._annotator.draw(self._picture, prediction, self._options, self._media_types)

    def response(self, answer: Answer) -> Response:
        """The response with the picture, and the model's version in its headers.

        Raises `Overloaded` when the budget is exhausted.
        """
        media_type, data = self._drawn
        headers = {**schemas.named(answer), "Vary": "Accept"}
        timeout = self._annotator.timeout + len(data) / _SLOWEST
        return _PictureResponse(data, media_type, headers, self._annotator.budget, timeout)


class _PictureResponse(Response):
    """Sends a picture in pieces, at the client's pace; its bytes count in the budget until it is sent or
    dropped.
    """

    def __init__(
        self, data: bytes, media_type: str, headers: dict[str, str], budget: ByteBudget, timeout: float
    ) -> None:
        super().__init__(data, 200, headers, media_type)
        budget.add(len(data))
        self._release = weakref.finalize(self, budget.remove, len(data))
        self._data = data
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the picture."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._pieces(send)
        except TimeoutError:
            logger.warning("client too slow, connection closed: picture not sent in %.0f s", self._timeout)
        finally:
            self._release()
            if self.background is not None:
                await self.background()

    async def _pieces(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self._data), _PIECE):
            piece = self._data[start : start + _PIECE]
            more = start + _PIECE < len(self._data)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
