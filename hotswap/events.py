"""Events of the core: the observer of versions and inferences, and the recorder of their outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap.errors import ServingError
from manifest.tags import ModelTag

if TYPE_CHECKING:
    from hotswap.gate import Verdict
    from hotswap.predictions import Answer, TensorAnswer
    from hotswap.runner import Fallback

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class Swap:
    """One publication: the version that answered before and the one that answers now (None: no version).

    Every worker publishes; `name` and `number`, that of the decision, are the same in all of them, so that
    an observer can keep one record per decision of the service. `pause_seconds` is how long requests to this
    worker could not begin meanwhile. `taken_back`: `before` had turned out bad while it answered.
    """

    name: str
    before: str | None
    after: str | None
    number: int
    digest: str | None
    actor: str | None = None
    reason: str | None = None
    pause_seconds: float = 0.0
    taken_back: bool = False

    @property
    def generation(self) -> int:
        """The number of the version that answers; 0 where none does."""
        return self.number if self.after else 0


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that was verified, loaded, warmed and checked. Times are in seconds, sizes in bytes.

    `resident_bytes` is what it was measured to hold at its import; None where it was not. `verdicts` are
    those of the checks, by their names.
    """

    tag: ModelTag
    digest: str
    load_seconds: float
    warm_up_seconds: float
    resident_bytes: int | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """From the beginning of the load to the end of the check."""
        return self.load_seconds + self.warm_up_seconds


class Observer:
    """The port of the core: metrics, logs, audit and lineage hang on it. Each method does nothing here.

    Methods must be quick and must not raise; what they raise is logged and changes nothing.
    """

    def loaded(self, version: LoadedVersion) -> None:
        """A version is ready to serve. In the reconciler's thread."""

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """A version failed; it is tried again after `retry_in` seconds. In the reconciler's thread."""

    def published(self, swap: Swap) -> None:
        """Another version answers now. In the reconciler's thread."""

    def closed(self, tag: ModelTag) -> None:
        """A retired version was freed. In the loader's thread."""

    def fell_back(self, tag: ModelTag, fallback: Fallback) -> None:
        """A graph of a version runs on the CPU instead of its device. In the thread that noticed it."""

    def evicted(self, tag: ModelTag, reason: str, bytes_freed: int, idle_seconds: float) -> None:
        """A version leaves memory unused for so long; once, in the worker that decided it.

        In the reconciler's thread.
        """

    def awaited(self, model: str, seconds: float) -> None:
        """A request for a model that was not in memory has waited for its load. On the event loop."""

    def predicted(self, answer: Answer | TensorAnswer) -> None:
        """An inference was answered. On the event loop."""

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """An inference was not answered, known after `seconds`; `model` as the request named it."""


class Observers(Observer):
    """Several observers as one; what one of them raises keeps nothing from the others."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def loaded(self, version: LoadedVersion) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.loaded, version)

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.failed, tag, reason, retry_in)

    def published(self, swap: Swap) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.published, swap)

    def closed(self, tag: ModelTag) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.closed, tag)

    def fell_back(self, tag: ModelTag, fallback: Fallback) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.fell_back, tag, fallback)

    def evicted(self, tag: ModelTag, reason: str, bytes_freed: int, idle_seconds: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.evicted, tag, reason, bytes_freed, idle_seconds)

    def awaited(self, model: str, seconds: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.awaited, model, seconds)

    def predicted(self, answer: Answer | TensorAnswer) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.predicted, answer)

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            notify(observer.refused, request_id, model, error, seconds)


class Outcome:
    """What became of one inference; see `Recorder.inference`."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: Answer | TensorAnswer | None = None


class Recorder:
    """Records what became of each inference: once, where its wire has given the answer or has refused."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @contextmanager
    def inference(self, request_id: str, model: str | None, begun: float | None = None) -> Iterator[Outcome]:
        """Record the outcome of what is done in the block, which sets `answer` when the core has answered.

        It counts as answered when the block ends after that, also where the caller has left meanwhile
        (`CancelledError`); as refused when the block raises `ServingError`, for example because the wire
        cannot carry the answer. `begun` is a moment of `time.perf_counter()`, now if left out.
        """
        started = time.perf_counter() if begun is None else begun
        outcome = Outcome()
        try:
            yield outcome
        except ServingError as error:
            self.refused(request_id, model, error, time.perf_counter() - started)
            raise
        except Exception:
            raise  # a fault of the service, which the wire reports
        except BaseException:
            self._answered(outcome)
            raise
        else:
            self._answered(outcome)

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float = 0.0) -> None:
        """Record an inference that was refused before it began."""
        notify(self._observer.refused, request_id, model, error, seconds)

    def _answered(self, outcome: Outcome) -> None:
        if outcome.answer is not None:
            notify(self._observer.predicted, outcome.answer)


def notify(listener: Callable[..., None], *facts: object) -> None:
    """Call a listener. What it raises is logged and changes nothing."""
    try:
        listener(*facts)
    except Exception:
        logger.exception("%s", getattr(listener, "__qualname__", listener))
