"""What the service says to a message, and whether to ask again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Statuses after which the same request may succeed, where the answer does not say so itself.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 502, 503, 504, 507})
_NEEDED = ("model", "model_version", "model_digest")
_LONGEST_REASON = 2_000


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. `retry_after` is in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """The model has answered."""

    answer: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Which model and version."""
        return f"{self.answer['model']}:{self.answer['model_version']}"


@dataclass(frozen=True, slots=True)
class FailedReply:
    """It has not. `transient`: the same request may succeed later, after `retry_after` seconds if given."""

    code: str
    reason: str
    transient: bool
    retry_after: float | None = None


class Unreachable(Exception):
    """No answer came, or not in time."""


def judge(reply: Reply) -> Success | FailedReply:
    """What a reply means. What is not the service's own shape is judged by its status."""
    failed = judge_status(reply)
    if failed is not None:
        return failed
    document = _json(reply.body)
    if document is None or any(not isinstance(document.get(name), str) for name in _NEEDED):
        return FailedReply("bad_answer", f"the answer does not name {', '.join(_NEEDED)}", transient=False)
    return Success(document)


def judge_status(reply: Reply) -> FailedReply | None:
    """What a failure means; None for an answer of any shape."""
    if 200 <= reply.status < 300:
        return None
    document = _json(reply.body)
    error = document.get("error") if document is not None else None
    if not isinstance(error, dict):
        text = reply.body[:200].decode("utf-8", "replace")
        return FailedReply(
            f"http_{reply.status}",
            f"the service answered {reply.status}: {text}",
            reply.status in TRANSIENT_STATUSES,
            reply.retry_after,
        )
    said = error.get("transient")
    return FailedReply(
        str(error.get("code") or f"http_{reply.status}")[:64],
        str(error.get("message") or "")[:_LONGEST_REASON],
        said if isinstance(said, bool) else reply.status in TRANSIENT_STATUSES,
        reply.retry_after,
    )


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
