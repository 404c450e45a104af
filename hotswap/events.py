"""Ports through which the core tells what happened. They do nothing by default."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hotswap.tags import ModelTag

if TYPE_CHECKING:
    from hotswap.predictions import Answer, PredictRequest, TensorAnswer, TensorRequest

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class Swap:
    """One publication: who answered before (None: nobody), who answers now (None: nobody).

    `pause_seconds` is how long requests to this worker could not begin while it was made.
    """

    name: str
    before: str | None
    after: str | None
    generation: int
    digest: str | None
    actor: str | None = None
    reason: str | None = None
    pause_seconds: float = 0.0


class Hooks(Protocol):
    """Called by the core. They must be quick and must not raise; what they raise is logged."""

    def after_predict(self, request: PredictRequest, answer: Answer) -> None:
        """After every answered request for pictures, on the event loop."""
        ...

    def after_infer(self, request: TensorRequest, answer: TensorAnswer) -> None:
        """After every answered request for tensors, on the event loop."""
        ...

    def after_swap(self, swap: Swap) -> None:
        """After every publication, in the reconciler's thread."""
        ...


class NoHooks:
    """Nobody listens."""

    def after_predict(self, request: PredictRequest, answer: Answer) -> None:
        """Do nothing."""

    def after_infer(self, request: TensorRequest, answer: TensorAnswer) -> None:
        """Do nothing."""

    def after_swap(self, swap: Swap) -> None:
        """Do nothing."""


class Observer(Protocol):
    """Where the core's figures go: a metrics registry, a log."""

    def loaded(self, tag: ModelTag, seconds: float) -> None:
        """A version was settled, loaded, warmed and checked in `seconds`."""
        ...

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """A version failed; it is tried again after `retry_in` seconds."""
        ...

    def swapped(self, swap: Swap) -> None:
        """Another version answers now."""
        ...

    def closed(self, tag: ModelTag) -> None:
        """A retired version was freed."""
        ...


class NoObserver:
    """Nobody counts."""

    def loaded(self, tag: ModelTag, seconds: float) -> None:
        """Do nothing."""

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """Do nothing."""

    def swapped(self, swap: Swap) -> None:
        """Do nothing."""

    def closed(self, tag: ModelTag) -> None:
        """Do nothing."""


def notify(listener: Callable[..., None], *facts: object) -> None:
    """Tell a listener. What it raises is logged and changes nothing."""
    try:
        listener(*facts)
    except Exception:
        logger.exception("%s", getattr(listener, "__qualname__", listener))
