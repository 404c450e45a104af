"""What all programs here share: ask one question after the other, tell every outcome as JSON.

These programs run in an environment that has a client of somebody else and nothing of ours.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any


class Told:
    """Outcomes by question: what was answered, or the error that the client raised."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Any] = {}

    async def ask(self, question: str, call: Callable[..., Any], *words: Any, **more: Any) -> Any:
        """Call the client, await where that is its way; keep and return what it gave, None if it raised."""
        try:
            found = call(*words, **more)
            if inspect.isawaitable(found):
                found = await found
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
            self.outcomes[question] = failure(error)
            return None
        self.outcomes[question] = plain(found)
        return found

    def print(self) -> None:
        """Everything, as JSON on standard output."""
        json.dump(self.outcomes, sys.stdout, indent=1)


def failure(error: Exception) -> dict[str, Any]:
    """An error as the client's user sees it: its class, status and message."""
    status = _call(error, "status") or _call(error, "code") or getattr(error, "status_code", None)
    status = getattr(getattr(error, "response", None), "status_code", status)
    message = _call(error, "message") or _call(error, "details") or getattr(error, "body", None) or str(error)
    return {"raised": type(error).__name__, "status": str(status), "message": plain(message)}


def _call(error: Exception, name: str) -> Any:
    method = getattr(error, name, None)
    return method() if callable(method) else None


def plain(found: Any) -> Any:
    """Something that JSON can hold."""
    if isinstance(found, dict):
        return {str(name): plain(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [plain(each) for each in found]
    if isinstance(found, bytes):
        return found.decode()
    return found if isinstance(found, str | int | float | bool | None) else str(found)
