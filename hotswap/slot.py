"""The slot of one model name: who answers it, and `_publish`, the one assignment that changes this."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hotswap.coordination import Coordinator, Decision, LocalCoordinator
from hotswap.errors import ModelNotReady, VersionNotLoaded
from hotswap.generation import Generation, Keeps, Lease, State, keeps_none
from residency.table import ModelUse

logger = logging.getLogger("bentoml.okawari.hotswap")

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
    """Who answers: generations with their shares of the requests, which sum to 1, the target's first.

    It is never changed, only replaced as a whole. `number` is that of the decision behind it. `evicted`: none
    answers, since it has left memory.
    """

    shares: tuple[tuple[Generation, float], ...] = ()
    number: int = 0
    evicted: bool = False

    def pick(self, key: str | None = None) -> Generation | None:
        """The generation for a key, the same for the same key; without a key that of the target.

        None when none answers.
        """
        if len(self.shares) < 2 or key is None:
            return self.shares[0][0] if self.shares else None
        at = point_of(self.shares[0][0].tag.name, key)
        for generation, share in reversed(self.shares):
            at -= share
            if at < 0:
                return generation
        return self.shares[0][0]

    def find(self, version: str) -> Generation | None:
        """The generation of that version, if it answers."""
        return next((each for each, _ in self.shares if each.tag.version == version), None)


def point_of(name: str, key: str) -> float:
    """A point in 0..1 for a key of a model's requests, evenly spread over keys.

    What has a point below a share keeps it when the share grows.
    """
    digest = hashlib.blake2b(f"{name} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


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


class Slot:
    """One model name. Requests lease; it answers as the workers have decided, at once and by itself.

    `prepared` is loaded, warmed and checked, and waits for that decision. `kept` answered before; it stays in
    memory for a while, so that it can answer again at once. `aside` waits for the candidate that the others
    have beside it.
    """

    def __init__(
        self,
        name: str,
        coordinator: Coordinator | None = None,
        on_switch: Callable[[], None] | None = None,
        use: ModelUse | None = None,
        keeps: Keeps = keeps_none,
    ) -> None:
        self.name = name
        self.prepared: Generation | None = None
        self.kept: Generation | None = None
        self.aside: Generation | None = None
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
        """The generation of the target: it answers requests which name no version."""
        return self._routing.pick()

    @property
    def candidate(self) -> Generation | None:
        """The generation that answers a share of them; None without one."""
        shares = self._routing.shares
        return shares[1][0] if len(shares) > 1 else None

    @property
    def share(self) -> float:
        """The share of the candidate, 0..1."""
        shares = self._routing.shares
        return shares[1][1] if len(shares) > 1 else 0.0

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
        return self._decided(decided)

    def _decided(self, decided: Decision) -> Routing | None:
        """What a decision for a version means here; None when one of its versions is not loaded."""
        target = self._loaded(decided.version, decided.digest)
        if target is None:
            return None
        if decided.candidate is None:
            return Routing(((target, 1.0),), decided.number)
        candidate = self._loaded(decided.candidate, decided.candidate_digest)
        if candidate is None:
            return None
        return Routing(((target, 1 - decided.share), (candidate, decided.share)), decided.number)

    def _loaded(self, version: str | None, digest: str | None) -> Generation | None:
        """The loaded generation of a version: prepared, kept (with those files), or one that answers."""
        kept = self.kept
        if kept is not None and not kept.artifact.digest.endswith((digest or "")[-_DIGEST_END:]):
            kept = None
        places = (self.prepared, self.aside, kept, *(each for each, _ in self._routing.shares))
        return next((each for each in places if each is not None and each.tag.version == version), None)

    def lease(self, version: str | None = None, key: str | None = None) -> Lease:
        """Borrow the generation that answers now: that of the version, or the one for the key.

        Raises `NotSwitched`, `ModelNotReady` or `VersionNotLoaded`.
        """
        while True:
            routing = self._routing
            chosen = self._choose(routing, version, key)
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

    def _choose(self, routing: Routing, version: str | None, key: str | None) -> Generation | None:
        return routing.pick(key) if version is None else routing.find(version)

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
        routing = self._decided(decided)
        if routing is None:
            return False
        target, kept = routing.shares[0][0], self.kept
        returned = self.current is None and self._was_evicted(decided.number)
        for generation, _ in routing.shares:
            generation.number = decided.number
            if generation.state is not State.SERVING:
                generation.open(decided.number, self._use)
            if generation is self.prepared:
                self.prepared = None
            if generation is self.aside:
                self.aside = None
        self._publish(routing, begun, returned=returned, taken_back=target is kept)
        return True

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

    def decided(self) -> Decision | None:
        """What the others have gone on to; None where this process has, too. Raises `OSError`."""
        number = self._coordinator.number(self.name)
        return self._coordinator.decision(self.name, number) if number > self.number else None

    def set_aside(self) -> bool:
        """Let what is prepared wait for the candidate that was decided beside it. Raises `OSError`."""
        decided, prepared = self.decided(), self.prepared
        if decided is None or decided.candidate is None or prepared is None:
            return False
        if prepared.tag.version != decided.version:
            return False
        with self._switching:
            if self.prepared is not prepared or self.aside is not None:
                return False
            self.aside, self.prepared = prepared, None
            return True

    def take_aside(self) -> Generation | None:
        """What waits in vain, as something else was decided. Raises `OSError`."""
        decided, aside = self.decided(), self.aside
        if aside is None or (decided is not None and decided.version == aside.tag.version):
            return None
        with self._switching:
            taken, self.aside = self.aside, None
            return taken

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
        """Let other generations answer, or none: the swap itself. What answered is kept or retired."""
        before, after = self._routing, routing.pick()
        staying = [each for each, _ in routing.shares]
        leaving = [each for each, _ in before.shares if each not in staying]
        last = before.pick()
        keeps = [last] if last in leaving and after and not taken_back and self._keeps(last, after) else []
        if self.kept is not None and self.kept not in staying and (keeps or last is not after):
            leaving.append(self.kept)
        with self._list:
            self._draining += tuple(each for each in leaving if each not in keeps)
            if last is not after or self.kept in staying:
                self.kept = keeps[0] if keeps else None
        self._routing = routing
        pause = time.perf_counter() - begun
        for generation in leaving:
            generation.keep() if generation in keeps else generation.retire()
        if after is not None and last is after:
            if routing.shares != before.shares:
                logger.info("%s answers %s, generation %d", after.tag, _beside(routing), routing.number)
            return
        self.publications.append(
            Publication(
                last,
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
        for other in (self.aside, self.kept):
            if other is not None and other not in serving:
                yield other
        yield from self._draining


def _beside(routing: Routing) -> str:
    if len(routing.shares) < 2:
        return "alone"
    candidate, share = routing.shares[1]
    return f"beside {candidate.tag}, which has a share of {share:.4g}"
