"""The path prefix of a request: taken off before anything reads the path, told where URLs are made.

A proxy may take the prefix off itself or leave it on; both are answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

from api.context import PEER
from common.url_prefix import is_own, url_prefix

_HEADER = b"x-forwarded-prefix"


class PathPrefix:
    """The configured prefix, and that of the header X-Forwarded-Prefix where a trusted proxy sends it."""

    def __init__(self, configured: str = "", proxies: Iterable[str] = ()) -> None:
        """`proxies` are addresses and networks. Raises `ValueError`."""
        self._configured = url_prefix(configured)
        self._proxies = tuple(ip_network(each) for each in proxies)

    def take_off(self, scope: Scope) -> str:
        """Take the prefix off the path of a request; return it, empty for none.

        The scope is changed in place: the transport adds what happens later to the same one.
        """
        forwarded = self._forwarded(scope)
        for prefix in (forwarded, self._configured):
            if prefix and _begins(scope["path"], prefix) and not is_own(prefix):
                scope["path"] = scope["path"][len(prefix) :]
                if scope.get("raw_path", b"").startswith(prefix.encode()):
                    scope["raw_path"] = scope["raw_path"][len(prefix) :]
                break
        return forwarded or self._configured

    def _forwarded(self, scope: Scope) -> str:
        """What a trusted proxy says; empty for what others say, for several values and for odd ones."""
        if not self._proxies or not self._trusts(scope.get(PEER)):
            return ""
        values = [value for name, value in scope["headers"] if name == _HEADER]
        if len(values) == 1:
            with suppress(ValueError):
                return url_prefix(values[0].decode("latin-1"))
        return ""

    def _trusts(self, peer: str | None) -> bool:
        """Whether the other end of the connection, whatever X-Forwarded-For says, is a trusted proxy."""
        try:
            address = ip_address((peer or "").partition("%")[0])
        except ValueError:
            return False
        plain = _plain(address)
        return any(plain in network for network in self._proxies if network.version == plain.version)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that a socket for both families shows as one of IPv6, as itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _begins(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
