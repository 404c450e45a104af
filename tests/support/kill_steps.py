"""Ends this process by SIGKILL before its n-th step; a step is whatever another process could see."""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import count
from types import CodeType, FrameType
from typing import Any

#: Functions of the system that change files or take locks.
_SYSTEM = frozenset(
    (
        *("flock", "lockf", "fsync", "fdatasync", "write", "ftruncate", "truncate", "chmod", "fchmod"),
        *("replace", "rename", "link", "symlink", "unlink", "remove", "mkdir", "rmdir", "utime", "sendfile"),
    )
)
_FILES = frozenset(("write", "flush", "truncate", "close"))
_SQLITE = frozenset(("execute", "executemany", "commit", "rollback"))


def _statements() -> frozenset[CodeType]:
    """What psycopg, which is written in Python, sends to PostgreSQL."""
    from psycopg import Connection, Cursor

    return frozenset(method.__code__ for method in (Cursor.execute, Connection.commit, Connection.rollback))


def _is_step(called: Any) -> bool:
    """Whether a function in C, bound to what it belongs to, may change what others see."""
    owner = called.__self__
    module = owner.__name__ if isinstance(owner, type(os)) else type(owner).__module__
    if module in ("posix", "fcntl"):
        return called.__name__ in _SYSTEM
    if module == "_io":
        return called.__name__ in _FILES and _is_kept(owner)
    return module == "sqlite3" and called.__name__ in _SQLITE


def _is_kept(file: Any) -> bool:
    """Whether what is written to a file is part of the state: no log, and no terminal."""
    name = str(getattr(file, "name", "<"))
    return getattr(file, "mode", "r") not in ("r", "rb") and not name.startswith("<") and "/logs/" not in name


class KillSteps:
    """Counts the steps of all threads that start after `watch`, from `begin` on."""

    def __init__(self, deadly: int) -> None:
        """The process ends before step `deadly`, counted from 1."""
        self._deadly = deadly
        self._numbers = count(1)
        self._counting = False
        self._statements = _statements()

    def watch(self) -> None:
        """Watch this thread and those to come."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def begin(self) -> None:
        """Count from now on."""
        self._counting = True

    def end(self) -> None:
        """Count no more: the rest is not part of what is looked at."""
        self._counting = False

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if not self._counting:
            return
        is_step = _is_step(argument) if event == "c_call" else event == "call" and self._is_statement(frame)
        if is_step and next(self._numbers) == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_statement(self, frame: FrameType) -> bool:
        return frame.f_code in self._statements
