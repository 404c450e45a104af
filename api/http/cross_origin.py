"""CORS: which pages of other origins may call the service."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import errors

_METHODS = ("GET", "HEAD", "POST", "PUT")
#: Response headers that a page may read beside the safelisted ones.
_EXPOSED = (
    "X-Request-ID",
    *(
        f"X-{kind}-{name}"
        for kind in ("Model", "Detector")
        for name in ("Name", "Version", "Digest", "Generation")
    ),
    *("Inference-Header-Content-Length", "Retry-After", "Location", "Allow", "Accept-Encoding"),
    "WWW-Authenticate",
)


class CrossOrigin:
    """Starlette's CORS rules for the allowed origins, without credentials."""

    def __init__(self, origins: Collection[str]) -> None:
        self._rules = CORSMiddleware(
            _no_app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )

    def preflight(self, request: Request) -> Response | None:
        """The answer to a preflight request; None for any other request."""
        headers = request.headers
        if request.method != "OPTIONS" or not {"origin", "access-control-request-method"} <= set(headers):
            return None
        answer = self._rules.preflight_response(headers)
        if answer.status_code >= 400:
            refused = errors.response(
                errors.Forbidden(
                    f"not allowed by OKAWARI_CORS_ORIGINS: origin {headers['origin'][:64]!r}, method "
                    f"{headers['access-control-request-method'][:16]!r}; allowed: {', '.join(_METHODS)}"
                )
            )
            refused.headers["Vary"] = answer.headers["Vary"]
            return refused
        return answer

    def with_headers(self, request: Request, send: Send) -> Send:
        """A `send` that adds the CORS headers to each answer, errors included."""
        return partial(self._rules.send, send=send, request_headers=request.headers)


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Never called: only Starlette's rules are used, so that our middleware counts preflights too."""
