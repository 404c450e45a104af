"""The public keys of an OpenID Connect provider, found by its discovery document, or at a URL."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

#: Bytes of the longest document; providers send some thousand.
_LONGEST = 262_144
_WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderUnavailable(OSError):
    """The provider cannot be asked, or does not answer with what it must; the message says which."""


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """One provider. Only its own addresses are fetched; redirects are not followed.

    `jwks_url` is where its keys are; None: where its discovery document says. `timeout` is in seconds, for
    both documents together.
    """

    issuer: str
    jwks_url: str | None = None
    timeout: float = 5.0

    def keys(self) -> Mapping[str, Any]:
        """The JSON Web Key Set (RFC 7517). Waits for the network. Raises `ProviderUnavailable`."""
        deadline = time.monotonic() + self.timeout
        with httpx.Client(follow_redirects=False, timeout=self.timeout) as client:
            url = self.jwks_url or self._found(client, deadline)
            return _document(client, url, deadline)

    def _found(self, client: httpx.Client, deadline: float) -> str:
        """Where the keys are, by the discovery document (OpenID Connect Discovery 1.0, section 4)."""
        document = _document(client, self.issuer.rstrip("/") + _WELL_KNOWN, deadline)
        if document.get("issuer") != self.issuer:
            raise ProviderUnavailable(f"the discovery document of {self.issuer} is of another issuer")
        url = document.get("jwks_uri")
        schemes = ("https://",) if self.issuer.startswith("https://") else ("https://", "http://")
        if not isinstance(url, str) or not url.startswith(schemes):
            raise ProviderUnavailable(f"the discovery document of {self.issuer} names no usable jwks_uri")
        return url


def _document(client: httpx.Client, url: str, deadline: float) -> Mapping[str, Any]:
    try:
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code != 200:
                raise ProviderUnavailable(f"{url} answers {answer.status_code}")
            document = json.loads(_body(answer, url, deadline))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise ProviderUnavailable(f"{url}: {str(error) or type(error).__name__}") from None
    if not isinstance(document, dict):
        raise ProviderUnavailable(f"{url} answers no JSON object")
    return document


def _body(answer: httpx.Response, url: str, deadline: float) -> bytes:
    """The bytes as they come; a compressed answer was not asked for, and is no JSON."""
    data = bytearray()
    for piece in answer.iter_raw():
        data += piece
        if len(data) > _LONGEST:
            raise ProviderUnavailable(f"{url} answers more than {_LONGEST} bytes")
        if time.monotonic() > deadline:
            raise ProviderUnavailable(f"{url} does not answer in time")
    return bytes(data)
