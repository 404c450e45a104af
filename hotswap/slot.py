"""The slot of one model name: who answers it, and `_publish`, the one assignment that changes this."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hotswap.coordination import Coordinator, Decision, LocalCoordinator
from hotswap.errors import ModelNotReady, VersionNotLoaded
from hotswap.generation import Generation, Lease, State
from residency.table import ModelUse

#: Void decisions that are skipped when the last eviction is looked for.
_LOOK_BACK = 8
#: Of a digest: the characters at its end that decisions remember.
_DIGEST_END = 16


class NotSwitched(ModelNotReady):
    """The others answer with a version of `model` that this process has yet to load; waiting helps."""

    def __init__(self, model: str) -> None:
        super().__init__(f"this worker is still loading the new version of {model}; retry shortly")
        self.model = model


class NotResident(ModelNotReady):
    """`model` is not in memory; it comes when it is asked for, so waiting helps."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is not in memory; it is loaded when it is asked for")
        self.model = model


@dataclass(frozen=True, slots=True)
class Routing:
    """Who answers: generations with their shares of the requests, which sum to 1.

    It is never changed, only replaced as a whole. Today there is one entry, with share 1. `number` is
    that of the decision behind it. `evicted`: none answers, since it has left memory.
    """

    shares: tuple[tuple[Generation, float], ...] = ()
    number: int = 0
    evicted: bool = False

    @classmethod
    def to(cls, generation: Generation) -> Routing:
        """All requests to one generation."""
        return cls(((generation, 1.0),), generation.number)

    def pick(self, at: float = 0.0) -> Generation | None:
        """The generation at a point in 0..1 of the shares; None when none answers."""
        for generation, share in self.shares:
            at -= share
            if at < 0:
                return generation
        return self.shares[-1][0] if self.shares else None

    def find(self, version: str) -> Generation | None:
        """The generation of that version, if it answers."""
        return next((each for each, _ in self.shares if each.tag.version == version), None)


@dataclass(frozen=True, slots=True)
class Publication:
    """One publication, as the slot keeps it for the log and the observers.

    `pause_seconds` is how long requests could not begin while it was made. `evicted`: what answered before
    left memory; `returned`: what answers now comes after such an eviction. `taken_back`: what answers now was
    kept, and what answered before is no good.
    """

    before: Generation | None
    after: Generation | None
    number: int
    pause_seconds: float
    evicted: bool = False
    returned: bool = False
    taken_back: bool = False


#: Whether the version before is to stay in memory for a while: of what answered, and of what answers now.
Keeps = Callable[[Generation, Generation], bool]


class Slot:
    """One model name. Requests lease; it answers as the workers have decided, at once and by itself.

    `prepared` is loaded, warmed and checked, and waits for that decision. `kept` answered before; it stays in
    memory for a while, so that it can answer again at once.
    """

    def __init__(
        self,
        name: str,
        coordinator: Coordinator | None = None,
        on_switch: Callable[[], None] | None = None,
        use: ModelUse | None = None,
        keeps: Keeps = lambda _before, _after: False,
    ) -> None:
        self.name = name
        self.prepared: Generation | None = None
        self.kept: Generation | None = None
        self.publications: deque[Publication] = deque()
        self._coordinator = coordinator or LocalCoordinator()
        self._on_switch = on_switch or (lambda: None)
        self._use = use
        self._keeps = keeps
        self._routing = Routing()
        self._draining: tuple[Generation, ...] = ()
        self._list = threading.Lock()  # the list of those that drain; leasing never takes it
        self._switching = threading.Lock()

    @property
    def current(self) -> Generation | None:
        """The generation that answers requests which name no version."""
        return self._routing.pick()

    @property
    def number(self) -> int:
        """The number of the decision that this process answers by."""
        return self._routing.number

    @property
    def evicted(self) -> bool:
        """Whether what answered last has left memory, and nothing has come since."""
        return self._routing.evicted

    @property
    def behind(self) -> bool:
        """Whether the others have gone on to a decision that this process has not taken in."""
        return self._coordinator.number(self.name) > self._routing.number

    @property
    def generations(self) -> Mapping[str, Generation]:
        """Generations that answer, by version."""
        return {each.tag.version: each for each, _ in self._routing.shares}

    @property
    def draining(self) -> tuple[Generation, ...]:
        """Generations that are retired and not yet closed."""
        return self._draining

    def effective(self) -> Routing | None:
        """How a request that begins now is answered; None when what was decided is not loaded here.

        It changes nothing: a decision that this process can take in at once counts as taken in.
        """
        routing = self._routing
        number = self._coordinator.number(self.name)
        if number <= routing.number:
            return routing
        try:
            decided = self._coordinator.decision(self.name, number)
        except OSError:
            return None
        if decided is None:
            return None
        if decided.version is None:
            return Routing(number=decided.number)
        loaded = (self.prepared, self._kept_for(decided), self.current)
        fresh = next((each for each in loaded if each and each.tag.version == decided.version), None)
        return Routing(((fresh, 1.0),), decided.number) if fresh is not None else None

    def lease(self, version: str | None = None) -> Lease:
        """Borrow the generation that answers now.

        Raises `NotSwitched`, `ModelNotReady` or `VersionNotLoaded`.
        """
        while True:
            routing = self._routing
            chosen = self._choose(routing, version)
            # It may have been retired since the table was read; then the table has changed, too.
            if chosen is not None and chosen.borrow():
                # A process may have been stopped for long just here, while the others went on.
                if self._coordinator.number(self.name) <= routing.number:
                    return Lease(chosen)
                chosen.give_back()
            if not self.catch_up():
                raise NotSwitched(self.name)
            if chosen is None and routing is self._routing:
                raise self._refusal(version)

    def _choose(self, routing: Routing, version: str | None) -> Generation | None:
        return routing.pick() if version is None else routing.find(version)

    def _refusal(self, version: str | None) -> ModelNotReady | VersionNotLoaded:
        if version is None:
            return ModelNotReady(f"no version of {self.name} serves yet; try again shortly")
        return VersionNotLoaded(
            f"{self.name}:{version} is not loaded; GET /models/{self.name} shows what serves"
        )

    def catch_up(self) -> bool:
        """Answer as decided, if that can be done at once; False when its version is not loaded here."""
        if not self.behind:
            return True
        begun = time.perf_counter()
        with self._switching:
            number = self._coordinator.number(self.name)
            try:
                decided = self._coordinator.decision(self.name, number)
            except OSError:
                return False
            return number <= self.number or (decided is not None and self._follow(decided, begun))

    def _follow(self, decided: Decision, begun: float) -> bool:
        if decided.version is None:
            self._publish(Routing(number=decided.number, evicted=decided.evicted), begun)
            return True
        current, prepared = self.current, self.prepared
        if prepared is not None and prepared.tag.version == decided.version:
            self.prepared = None
            returned = current is None and self._was_evicted(decided.number)
            prepared.open(decided.number, self._use)
            self._publish(Routing.to(prepared), begun, returned=returned)
            return True
        if (kept := self._kept_for(decided)) is not None:
            kept.open(decided.number, self._use)
            self._publish(Routing.to(kept), begun, taken_back=True)
            return True
        if current is not None and current.tag.version == decided.version:
            current.number = decided.number
            self._routing = Routing.to(current)
            return True
        return False

    def _kept_for(self, decided: Decision) -> Generation | None:
        """What is kept, if it is that version with those files."""
        kept, digest = self.kept, decided.digest or ""
        if kept is None or kept.tag.version != decided.version:
            return None
        return kept if kept.artifact.digest.endswith(digest[-_DIGEST_END:]) else None

    def release_kept(self) -> None:
        """Let go of what is kept."""
        with self._switching:
            kept = self.kept
            if kept is None:
                return
            with self._list:
                self._draining += (kept,)
                self.kept = None
            kept.retire()

    def prepare(self, fresh: Generation) -> None:
        """Hold a generation ready for the decision to come."""
        fresh.state = State.PREPARED
        self.prepared = fresh

    def drop(self, fresh: Generation) -> bool:
        """Hold `fresh` no longer; False when it has come to answer meanwhile."""
        with self._switching:
            if self.prepared is not fresh:
                return False
            self.prepared = None
            return True

    def _was_evicted(self, number: int) -> bool:
        """Whether the decision before this one was an eviction."""
        for earlier in range(number - 1, max(0, number - 1 - _LOOK_BACK), -1):
            try:
                decided = self._coordinator.decision(self.name, earlier)
            except OSError:
                return False
            if decided is None or not decided.void:
                return decided is not None and decided.evicted
        return False

    def _publish(
        self, routing: Routing, begun: float, *, returned: bool = False, taken_back: bool = False
    ) -> None:
        """Let another generation answer, or none: the swap itself. What answered is kept or retired."""
        before, after = self._routing, routing.pick()
        keeps = [each for each, _ in before.shares if after and not taken_back and self._keeps(each, after)]
        leaving = [each for each, _ in before.shares if each not in keeps[:1]]
        leaving += [self.kept] if self.kept not in (None, after) else []
        with self._list:
            self._draining += tuple(leaving)
            self.kept = keeps[0] if keeps else None
        self._routing = routing
        pause = time.perf_counter() - begun
        for generation in keeps[:1]:
            generation.keep()
        for generation in leaving:
            generation.retire()
        self.publications.append(
            Publication(
                before.pick(),
                after,
                routing.number,
                pause,
                evicted=routing.evicted,
                returned=returned,
                taken_back=taken_back,
            )
        )
        self._on_switch()

    def forget(self, generation: Generation) -> None:
        """Drop a closed generation."""
        with self._list:
            self._draining = tuple(each for each in self._draining if each is not generation)

    def __iter__(self) -> Iterator[Generation]:
        prepared = self.prepared
        serving = tuple(each for each, _ in self._routing.shares)
        yield from serving
        # It may have come to serve since it was looked at.
        if prepared is not None and prepared not in serving:
            yield prepared
        kept = self.kept
        if kept is not None and kept not in serving:
            yield kept
        yield from self._draining
