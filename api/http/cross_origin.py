"""Pages of other origins: which may ask, and what their browsers are told (CORS)."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import errors

_METHODS = ("GET", "HEAD", "POST", "PUT")
#: Headers of answers that a page may read beside those that it always may.
_EXPOSED = (
    "X-Request-ID",
    *(f"X-Model-{what}" for what in ("Name", "Version", "Digest", "Generation")),
    *("Inference-Header-Content-Length", "Retry-After", "Location", "Allow", "Accept-Encoding"),
)


class CrossOrigin:
    """The rules of the library for the origins that are allowed; credentials are never asked for."""

    def __init__(self, origins: Collection[str]) -> None:
        self._rules = CORSMiddleware(
            _nobody,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser that asks whether a page may ask; None for any other request."""
        asked = request.headers
        if request.method != "OPTIONS" or not {"origin", "access-control-request-method"} <= set(asked):
            return None
        answer = self._rules.preflight_response(asked)
        if answer.status_code >= 400:
            refused = errors.response(
                errors.Forbidden(
                    f"OKAWARI_CORS_ORIGINS does not allow it: origin {asked['origin'][:64]!r}, method "
                    f"{asked['access-control-request-method'][:16]!r} of {', '.join(_METHODS)}"
                )
            )
            refused.headers["Vary"] = answer.headers["Vary"]
            return refused
        return answer

    def telling(self, request: Request, send: Send) -> Send:
        """A `send` that tells with each answer, errors too, whether the page may read it."""
        return partial(self._rules.send, send=send, request_headers=request.headers)


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """The library's rules are asked and its layer is not used: preflights are counted by the gateway."""
