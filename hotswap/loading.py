"""Settle, load, warm and check one version, beside whatever serves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from hotswap.artifact import Artifact, Unsettled
from hotswap.errors import ServingError
from hotswap.generation import Generation, State
from hotswap.runner import Loader, Runner
from hotswap.source import Source
from hotswap.tags import ModelTag

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The version may answer."""

    generation: Generation
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It may not. `settling`: waiting may help, so it is tried again at the next look."""

    tag: ModelTag
    reason: str
    settling: bool = False
    digest: str | None = None


Outcome = Loaded | Failed
Progress = Callable[[State], None]


class Gate:
    """Brings versions to where they may answer. Every way to fail ends in `Failed`, nothing raises."""

    def __init__(self, source: Source, loader: Loader, on_drained: Callable[[Generation], None]) -> None:
        self._source = source
        self._loader = loader
        self._on_drained = on_drained

    def bring(self, tag: ModelTag, progress: Progress) -> Outcome:
        """Do all of it in the calling thread, telling `progress` of each state."""
        begun = time.perf_counter()
        try:
            settled = self._source.settle(tag)
            if not isinstance(settled, Artifact):
                return Failed(tag, settled.reason, settling=isinstance(settled, Unsettled))
            return self._load(settled, progress, begun)
        except Exception as error:  # noqa: BLE001 - a bad version must not end the loader's thread
            return Failed(tag, f"{type(error).__name__}: {error}")

    def _load(self, artifact: Artifact, progress: Progress, begun: float) -> Outcome:
        runner: Runner | None = None
        try:
            runner = self._loader.load(artifact)
            progress(State.WARMING)
            runner.warm()
            progress(State.CHECKING)
            runner.check()
        except Exception as error:  # noqa: BLE001 - whatever a bad version raises, it is refused
            if runner is not None:
                _free(runner)
            return Failed(artifact.tag, _reason(error), digest=artifact.digest)
        return Loaded(Generation(artifact, runner, self._on_drained), time.perf_counter() - begun)


def _free(runner: Runner) -> None:
    """Close a refused runner; the reason that counts is why it was refused."""
    try:
        runner.close()
    except Exception:
        logger.exception("closing a version that was refused")


def _reason(error: Exception) -> str:
    if isinstance(error, ServingError):
        return error.message
    return f"{type(error).__name__}: {error}"
