"""Compiles, beside a service, the versions that came in uncompiled."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from contextlib import suppress

from hotswap.repository import Artifact
from models_import.compiler import CompileOutcome, Compiler

logger = logging.getLogger("bentoml.okawari.models_import")

#: Most versions that wait; a version that finds no place is compiled after the next start.
_MOST_WAITING = 1000


class BackgroundCompiler:
    """One thread of low priority. Of several workers with the same version one compiles it."""

    def __init__(self, compiler: Compiler, *, pause: float = 1.0) -> None:
        """Wait `pause` seconds before each compile: the version is still being warmed, others may load."""
        self._compiler = compiler
        self._pause = pause
        self._waiting: deque[Artifact] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="okawari-compiler", daemon=True)

    def start(self) -> None:
        """Begin with what was added before."""
        self._thread.start()

    def add(self, artifact: Artifact) -> None:
        """Compile a version some time soon. May be called by any thread."""
        with self._changed:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(artifact)
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """End, and the compile under way with it; nothing of it is left."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._compiler.stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _serve(self) -> None:
        # Linux counts niceness by thread; elsewhere it would slow down the whole process.
        if os.uname().sysname == "Linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (artifact := self._next()) is not None:
            try:
                self._report(artifact, self._compiler.compile(artifact))
            except Exception:
                logger.exception("compiling %s", artifact.tag)

    def _next(self) -> Artifact | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._waiting)
            self._changed.wait_for(lambda: self._ending, self._pause)
            return None if self._ending else self._waiting.popleft()

    def _report(self, artifact: Artifact, outcome: CompileOutcome) -> None:
        if outcome.kind == "busy":
            self.add(artifact)
        elif outcome.kind == "compiled":
            logger.info("%s is compiled: from now on it loads mapped", artifact.tag)
        elif outcome.reason is not None and not self._ending:
            logger.warning("%s is loaded the plain way: %s", artifact.tag, outcome.reason)
