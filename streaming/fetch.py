"""Pictures behind URLs of events: from hosts that are allowed, at public addresses, of a bounded size.

Needs okawari[stream].
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from streaming.replies import TRANSIENT_STATUSES, FailedReply

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
#: Addresses that stand for IPv4 ones: by NAT64 (RFC 6052), and the compatible ones of RFC 4291.
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which URLs are fetched.

    `hosts` are names, or `*.name` for all below one; `private` are those of them that may be at addresses
    which are not public.
    """

    hosts: Collection[str]
    private: Collection[str] = ()
    max_bytes: int = 10_000_000

    def refusal(self, url: str) -> str | None:
        """Why a URL is not fetched; None if it is."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "it is no URL"
        host = (parts.hostname or "").lower()
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or port == 0:
            return "allowed is http:// or https:// with a host, without a user"
        if not any(_fits(host, each) for each in self.hosts):
            return f"the host {host[:100]} is not allowed: name it with --allow"
        if _address(host) is not None and not self.may_be_private(host) and not is_public(host):
            return f"{host} is no public address"
        return None

    def may_be_private(self, host: str) -> bool:
        """Whether a host may have an address that is not public."""
        return any(_fits(host, each) for each in self.private)


class FetchFailed(Exception):
    """A picture did not come; `reply` says whether that passes."""

    def __init__(self, code: str, reason: str, *, transient: bool) -> None:
        super().__init__(reason)
        self.reply = FailedReply(code, reason, transient)


class ImageFetcher:
    """Fetches pictures. May be used for many at once, in one event loop."""

    def __init__(self, policy: UrlPolicy, *, connections: int, seconds: float = 20.0) -> None:
        self._policy = policy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, resolver=_PublicResolver(policy)),
            timeout=aiohttp.ClientTimeout(total=seconds, connect=5.0),
            trust_env=False,
        )

    async def fetch(self, url: str) -> bytes:
        """The bytes at a URL; redirects are checked like it. Raises `FetchFailed`."""
        for _ in range(_MOST_REDIRECTS + 1):
            refusal = self._policy.refusal(url)
            if refusal is not None:
                raise FetchFailed("url_not_allowed", f"image_url: {refusal}", transient=False)
            try:
                found = await self._once(url)
            except _NotPublic as error:
                raise FetchFailed("url_not_allowed", f"image_url: {error}", transient=False) from None
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if isinstance(error.__cause__ or error.__context__, _NotPublic):
                    raise FetchFailed("url_not_allowed", f"image_url: {error}", transient=False) from None
                reason = f"image_url: {type(error).__name__}: {error}"[:300]
                raise FetchFailed("image_unreachable", reason, transient=True) from None
            except ValueError as error:  # a name that cannot be encoded
                reason = f"image_url: {error}"[:300]
                raise FetchFailed("url_not_allowed", reason, transient=False) from None
            if isinstance(found, bytes):
                return found
            url = _joined(url, found)
        raise FetchFailed("url_not_allowed", "image_url: too many redirects", transient=False)

    async def _once(self, url: str) -> bytes | str:
        """The bytes, or where they are instead."""
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status in _REDIRECTS and "Location" in answer.headers:
                return answer.headers["Location"]
            if answer.status != 200:
                raise FetchFailed(
                    f"image_http_{answer.status}",
                    f"image_url: the server answered {answer.status}",
                    transient=answer.status in TRANSIENT_STATUSES,
                )
            content = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                content += chunk
                if len(content) > self._policy.max_bytes:
                    raise FetchFailed(
                        "image_too_large",
                        f"image_url: more than {self._policy.max_bytes} bytes",
                        transient=False,
                    )
            return bytes(content)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise FetchFailed("url_not_allowed", "image_url: it leads to no URL", transient=False) from None


class _NotPublic(OSError):
    """A host has an address that is not public."""


class _PublicResolver(AbstractResolver):
    """Resolves names to public addresses alone, at the moment of the connection."""

    def __init__(self, policy: UrlPolicy) -> None:
        self._policy = policy
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`."""
        found = await self._resolver.resolve(host, port, family)
        if not self._policy.may_be_private(host):
            for each in found:
                if not is_public(each["host"]):
                    raise _NotPublic(f"{host} is at {each['host']}, which is no public address")
        return found

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Whether an address belongs to the public network; those that hide an IPv4 one are judged by it."""
    found = _address(address)
    if found is None:
        return False
    if any(found in network for network in _TRANSLATED):
        return False
    inner: Any = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or found
    return bool(found.is_global and inner.is_global and not found.is_multicast)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _fits(host: str, allowed: str) -> bool:
    name = allowed.lower()
    return host.endswith(name[1:]) if name.startswith("*.") else host == name
