"""Asks the service over HTTP, by aiohttp. Needs okawari[stream]."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from streaming.replies import Reply, Unreachable

#: Most bytes of an answer that is kept.
_MOST_BYTES = 4_000_000


class HttpInference:
    """Asks one service, over as many connections as requests are under way."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        seconds: float = 35.0,
        path: str = "/infer_json",
        token: str | None = None,
    ) -> None:
        """`url` is that of the service, with or without `path`. One answer takes `seconds` at most.

        `token` is the bearer token of each request.
        """
        self.url = url if url.endswith(path) else f"{url.rstrip('/')}{path}"
        #: The URL as it is shown: others' paths and queries may be secrets.
        parts = urlsplit(self.url)
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else None,
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=seconds, connect=5.0),
            auto_decompress=True,
            trust_env=False,
        )

    async def infer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See `InferenceClient.infer`."""
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.content.read(_MOST_BYTES + 1)
                while len(content) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                    content += more
                return Reply(response.status, content, _seconds(response.headers.get("Retry-After")))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self.origin}: {type(error).__name__}: {error}"[:500]) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
