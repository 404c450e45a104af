"""A client of the dispatcher whose answers a test writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from streaming.messages import Header, IncomingRecord, Position
from streaming.replies import Reply, Unreachable

ANSWER = {"model": "fruit", "model_version": "v3", "model_digest": "sha256:ab", "generation": 2}


def answered(**more: Any) -> Reply:
    """The service's answer."""
    return Reply(200, json.dumps(ANSWER | more).encode())


def refused(status: int, code: str, *, transient: bool | None, retry_after: float | None = None) -> Reply:
    """A refusal in the service's shape."""
    error: dict[str, Any] = {"code": code, "message": f"because of {code}", "request_id": "r"}
    if transient is not None:
        error["transient"] = transient
    return Reply(status, json.dumps({"error": error}).encode(), retry_after)


def record(
    value: bytes | None, offset: int = 7, key: bytes | None = None, headers: tuple[Header, ...] = ()
) -> IncomingRecord:
    """A record of partition 2."""
    return IncomingRecord(Position("imagery.new.fruit", 2, offset), value, key, headers)


class ScriptedService:
    """Gives its replies in turn, the last one for ever."""

    def __init__(self, *replies: Reply | Unreachable) -> None:
        self._replies = list(replies)
        self.asked: list[tuple[bytes, dict[str, str]]] = []

    async def infer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        self.asked.append((body, dict(headers)))
        said = self._replies[0] if len(self._replies) == 1 else self._replies.pop(0)
        if isinstance(said, Unreachable):
            raise said
        return said
