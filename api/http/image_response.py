"""Pictures as answers: which format the caller takes, who draws it, and sending it at the caller's pace."""

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
from hotswap.predictions import Answer, Picture, Prediction, Predictions

logger = logging.getLogger("bentoml.okawari.http")

#: What a picture can be answered as, the usual first.
OFFERED = ("image/jpeg", "image/png", "image/webp")

_PIECE = 262_144
#: Bytes a second; a caller that takes fewer is left.
_SLOWEST = 100_000


class Draw(Protocol):
    """Draws what was found; gives media type and bytes of the first of `media_types` that can hold it."""

    def __call__(
        self, picture: Picture, prediction: Prediction, media_types: Sequence[str]
    ) -> tuple[str, bytes]:
        """May take long and needs a thread of its own. Raises `PictureTooLarge`."""
        ...


# --- what the caller takes -----------------------------------------------------------------------


def acceptable(headers: Sequence[str]) -> tuple[str, ...]:
    """Those of the offered media types that the `Accept` headers allow, the most wanted first.

    RFC 9110, 12.5.1: the most exact range counts, q=0 forbids. No header allows all. A range that
    cannot be read is passed over. Raises `NotAcceptable` when nothing is left.
    """
    text = ",".join(headers)
    if not text.strip():
        return OFFERED
    ranges = dict(sorted(_ranges(text), key=lambda each: each[1]))
    wanted = {offer: _quality(offer, ranges) for offer in OFFERED}
    allowed = tuple(offer for offer in OFFERED if wanted[offer] > 0)
    if not allowed:
        raise NotAcceptable(f"Accept {text[:100]!r}: offered are {', '.join(OFFERED)}")
    return tuple(sorted(allowed, key=lambda offer: -wanted[offer]))


def _ranges(text: str) -> Iterator[tuple[str, float]]:
    """Every range with its quality."""
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


# --- drawing and answering -----------------------------------------------------------------------


class Annotator:
    """Makes the drawings of all requests. `store` bounds the bytes of pictures that wait to be taken."""

    def __init__(self, draw: Draw, store: ByteBudget, patience: float) -> None:
        self.draw = draw
        self.store = store
        self.patience = patience

    def drawing(self, picture: Picture) -> Drawing:
        """For the request under way, whose `Accept` has been read."""
        return Drawing(self, picture, context.current.get().accepted)


class Drawing:
    """One picture on its way: called in the model's thread, then asked for the response."""

    def __init__(self, maker: Annotator, picture: Picture, media_types: Sequence[str]) -> None:
        self._maker = maker
        self._picture = picture
        self._media_types = media_types
        self._drawn: tuple[str, bytes] = ("", b"")

    def __call__(self, found: Predictions) -> None:
        """Draw what was found. Raises what the drawing raises."""
        self._drawn = self._maker.draw(self._picture, found.items[0], self._media_types)

    def response(self, answer: Answer) -> Response:
        """The response that carries the picture and names who found what it shows.

        Raises `Overloaded` when the store is full.
        """
        media_type, data = self._drawn
        headers = {**schemas.named(answer), "Vary": "Accept"}
        patience = self._maker.patience + len(data) / _SLOWEST
        return _Paced(data, media_type, headers, self._maker.store, patience)


class _Paced(Response):
    """Sends piece by piece, as the caller takes them; its bytes are held in the store until it is sent, or
    gone unsent.
    """

    def __init__(
        self, data: bytes, media_type: str, headers: dict[str, str], store: ByteBudget, patience: float
    ) -> None:
        super().__init__(data, 200, headers, media_type)
        store.add(len(data))
        self._release = weakref.finalize(self, store.remove, len(data))
        self._data = data
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        try:
            async with asyncio.timeout(self._patience):
                await self._pieces(send)
        except TimeoutError:
            logger.warning("a picture was not taken within %.0f s: the caller is left", self._patience)
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
