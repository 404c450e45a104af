"""A version's life: loaded, warmed and checked in the background; closed, its memory returned, at the end."""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from hotswap.backoff import LoadFailure
from hotswap.errors import ServingError
from hotswap.events import LoadedVersion, Observer, notify
from hotswap.gate import Gate, Verdict, Version
from hotswap.generation import Generation, Lease, State
from hotswap.observed import ObservedState
from hotswap.plan import Want, may_publish
from hotswap.repository import Artifact, Incomplete, ModelRepository, VersionInfo
from hotswap.runner import Loader, Runner
from hotswap.slot import Slot
from hotswap.threads import Background
from manifest.tags import ModelTag

logger = logging.getLogger("bentoml.okawari.hotswap")


def release_memory() -> None:
    """Collect what is unreachable and return free heap pages to the system, where libc can."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Return free heap pages to the system, where libc can; other threads run on meanwhile."""
    malloc_trim = getattr(_libc(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:  # pragma: no cover - a system without a C library to ask
        return None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The version may answer; `verdicts` by the names of the checks."""

    generation: Generation
    load_seconds: float
    warm_up_seconds: float
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


Outcome = Loaded | LoadFailure
Progress = Callable[[State], None]


class VersionLoader:
    """Brings versions to where they may answer. Every way to fail ends in `Failed`, nothing raises."""

    def __init__(
        self,
        source: ModelRepository,
        loader: Loader,
        on_drained: Callable[[Generation], None],
        *,
        gate: Gate | None = None,
        borrow: Callable[[str], Lease | None] = lambda _: None,
    ) -> None:
        """`borrow` lends the version of a model that answers now, which the gate compares with."""
        self._source = source
        self._loader = loader
        self._on_drained = on_drained
        self._gate = gate or Gate()
        self._borrow = borrow
        #: What has been warmed here before: coming back into memory it is checked, and answers sooner.
        self._warmed: set[str] = set()

    def load(self, tag: ModelTag, progress: Progress) -> Outcome:
        """Do all of it in the calling thread; `progress` gets each state."""
        begun = time.perf_counter()
        try:
            verified = self._source.settle(tag)
            if not isinstance(verified, Artifact):
                return LoadFailure(tag, verified.reason, settling=isinstance(verified, Incomplete))
            return self._load(verified, progress, begun)
        except Exception as error:  # noqa: BLE001 - a bad version must not end the loader's thread
            return LoadFailure(tag, f"{type(error).__name__}: {error}")

    def _load(self, artifact: Artifact, progress: Progress, begun: float) -> Outcome:
        runner: Runner | None = None
        try:
            self._gate.check_known(artifact)
            has_answered = self._gate.has_answered(artifact)
            runner = self._loader.load(artifact)
            loaded = time.perf_counter()
            if artifact.digest not in self._warmed:
                progress(State.WARMING)
                runner.warm()
            progress(State.CHECKING)
            runner.check()
            self._warmed.add(artifact.digest)
            seconds = loaded - begun, time.perf_counter() - loaded
            verdicts = self._judge(Version(artifact, runner))
        except Exception as error:  # noqa: BLE001 - whatever a bad version raises, it is refused
            if runner is not None:
                _free(runner)
            return LoadFailure(artifact.tag, _reason_of(error), digest=artifact.digest)
        fresh = Generation(artifact, runner, self._on_drained)
        fresh.has_answered = has_answered
        return Loaded(fresh, *seconds, verdicts)

    def _judge(self, candidate: Version) -> Mapping[str, Verdict]:
        """What the gate says; raises `VersionFailed` where it says no."""
        if self._gate.is_open:
            return {}
        with ExitStack() as stack:
            lease = self._borrow(candidate.artifact.tag.name)
            current = stack.enter_context(lease) if lease else None
            compared = Version(current.artifact, current.runner) if current else None
            return self._gate.judge(compared, candidate)


def _free(runner: Runner) -> None:
    """Close a refused runner; the reason that counts is why it was refused."""
    try:
        runner.close()
    except Exception:
        logger.exception("closing a version that was refused")


def _reason_of(error: Exception) -> str:
    if isinstance(error, ServingError):
        return error.message
    return f"{type(error).__name__}: {error}"


class GenerationCloser:
    """Closes generations in the background."""

    def __init__(
        self,
        observed: ObservedState,
        background: Background,
        observer: Observer,
        wake: Callable[[], None],
        awaited: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`awaited` are the models for which requests wait: they may need the room."""
        self._observed = observed
        self._background = background
        self._observer = observer
        self._wake = wake
        self._awaited = awaited
        self._releasing = False

    def drained(self, generation: Generation) -> None:
        """Close it soon. May be called by any thread."""
        self._background.submit(lambda: self._close(generation), urgent=bool(self._awaited()))

    def unwanted(self, generation: Generation) -> None:
        """Close soon a generation that never answered."""
        logger.info("%s is no longer wanted; it is closed without having served", generation.tag)
        self.drained(generation)

    def _close(self, generation: Generation) -> None:
        slot = self._observed.slots.get(generation.tag.name)
        try:
            generation.close()
        except Exception:
            logger.exception("closing %s", generation.tag)
        if self._awaited():
            self._release_soon()
        else:
            release_memory()
        if slot is not None:
            slot.forget(generation)
        notify(self._observer.closed, generation.tag)
        self._wake()

    def _release_soon(self) -> None:
        """Once for all that are closed until then: what is loaded in their place need not wait for it."""
        if not self._releasing:
            self._releasing = True
            self._background.submit(self._release)

    def _release(self) -> None:
        self._releasing = False
        release_memory()


class LoadQueue:
    """Versions that are loaded in the background; the reconciler's next turn takes in what came of it.

    Called by the reconciler's thread, but for what the background does. `again` are those that may be tried
    once more if the try under way fails.
    """

    def __init__(
        self,
        observed: ObservedState,
        background: Background,
        loader: VersionLoader,
        *,
        withdraw: Callable[[Slot], None],
        closer: GenerationCloser,
        observer: Observer,
        wake: Callable[[], None],
        awaited: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`awaited` are the models for which requests wait: their loads are urgent."""
        self._observed = observed
        self._background = background
        self._loader = loader
        self._awaited = awaited
        self._withdraw = withdraw
        self._closer = closer
        self._observer = observer
        self._wake = wake
        self._outcomes: deque[tuple[ModelTag, VersionInfo | None, Outcome]] = deque()
        self.again: set[ModelTag] = set()

    def load(self, tag: ModelTag) -> None:
        """Begin to load a version."""
        # What is seen now is what will be tried: files that change meanwhile deserve another try.
        seen = self._observed.version(tag)
        self._observed.loading[tag] = State.LOADING
        self._background.submit(lambda: self._load(tag, seen), urgent=tag.name in self._awaited())

    def forgive(self, tag: ModelTag | None) -> None:
        """What failed (None: everything) may be tried now; what is being tried, once more if it fails."""
        backoff = self._observed.backoff
        backoff.forgive_all() if tag is None else backoff.forgive(tag)
        self.again.update(each for each in tuple(self._observed.loading) if tag in (None, each))

    def take_in(self, wants: Mapping[str, Want]) -> None:
        """Take in all that has come."""
        while self._outcomes:
            self._take_in(*self._outcomes.popleft(), wants)

    def _load(self, tag: ModelTag, seen: VersionInfo | None) -> None:
        def progress(state: State) -> None:
            self._observed.loading[tag] = state

        outcome = self._loader.load(tag, progress)
        if isinstance(outcome, LoadFailure) and outcome.digest is not None:
            release_memory()  # it was loaded, at least in part
        self._outcomes.append((tag, seen, outcome))
        self._wake()

    def _take_in(
        self, tag: ModelTag, seen: VersionInfo | None, outcome: Outcome, wants: Mapping[str, Want]
    ) -> None:
        self._observed.loading.pop(tag, None)
        again = tag in self.again
        self.again.discard(tag)
        if isinstance(outcome, LoadFailure):
            if again:
                logger.info("%s failed: %s; tried again at once, as asked", tag, outcome.reason)
            else:
                self._failed(outcome, seen)
        elif may_publish(tag.version, wants.get(tag.name), self._observed.actual(tag.name)):
            self._loaded(outcome)
        else:
            self._closer.unwanted(outcome.generation)

    def _failed(self, failed: LoadFailure, seen: VersionInfo | None) -> None:
        known = self._observed.backoff.failures.get(failed.tag)
        delay = self._observed.backoff.record(failed, seen)
        if not failed.settling:
            self._refused(failed, delay)
        elif known is None or known.reason != failed.reason:
            logger.info("%s is not settled: %s", failed.tag, failed.reason)

    def _refused(self, failed: LoadFailure, delay: float) -> None:
        tag = failed.tag
        logger.warning("%s failed: %s; next try in %.0f s", tag, failed.reason, delay)
        revision = self._observed.desired_model(tag.name).revision
        with suppress(OSError):
            self._observed.coordinator.refuse(tag.name, tag.version, revision, failed.reason)
        notify(self._observer.failed, tag, failed.reason, delay)

    def _loaded(self, loaded: Loaded) -> None:
        generation = loaded.generation
        self._observed.backoff.forgive(generation.tag)
        notify(self._observer.loaded, _described(loaded))
        slot = self._observed.slot(generation.tag.name)
        if slot.prepared is not None:
            self._withdraw(slot)
        if slot.prepared is not None:
            self._closer.drained(generation)  # the other cannot be given up now
            return
        slot.prepare(generation)


def _described(loaded: Loaded) -> LoadedVersion:
    artifact = loaded.generation.artifact
    measured = artifact.measured
    return LoadedVersion(
        tag=artifact.tag,
        digest=artifact.digest,
        load_seconds=loaded.load_seconds,
        warm_up_seconds=loaded.warm_up_seconds,
        resident_bytes=measured.resident_bytes if measured else None,
        verdicts=loaded.verdicts,
    )
