"""Parts that stop the program at a chosen call: before it does anything, or after it has done all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Here the process was killed."""


class StopAt:
    """Counts the calls of all parts that it wraps, and stops at one of them."""

    def __init__(self, call: int, *, after: bool) -> None:
        self._call = call
        self._after = after
        self.calls: list[str] = []

    def wrap(self, part: Any) -> Any:
        """The same part, whose calls count."""
        return _Counted(part, self)

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call, unless it is the one."""
        self.calls.append(name)
        is_it = len(self.calls) == self._call
        if is_it and not self._after:
            raise Killed(name)
        result = call()
        if is_it:
            raise Killed(name)
        return result


class _Counted:
    def __init__(self, part: Any, stop: StopAt) -> None:
        self._part = part
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        return lambda *arguments: self._stop.around(name, lambda: method(*arguments))
