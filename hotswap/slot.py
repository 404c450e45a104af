"""The place that one model name holds in a process: generations by version, and who answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hotswap.errors import ModelNotReady, VersionNotLoaded
from hotswap.generation import Generation, Lease


@dataclass(frozen=True, slots=True)
class Routing:
    """Who answers: generations with their shares of the requests, which sum to 1.

    It is never changed, only replaced as a whole. Today there is one entry, with share 1.
    """

    shares: tuple[tuple[Generation, float], ...] = ()

    @classmethod
    def to(cls, generation: Generation) -> Routing:
        """All requests to one generation."""
        return cls(((generation, 1.0),))

    def pick(self, at: float = 0.0) -> Generation | None:
        """The generation at a point in 0..1 of the shares; None when nobody answers."""
        for generation, share in self.shares:
            at -= share
            if at < 0:
                return generation
        return self.shares[-1][0] if self.shares else None

    def find(self, version: str) -> Generation | None:
        """The generation of that version, if it answers."""
        return next((each for each, _ in self.shares if each.tag.version == version), None)


class Slot:
    """One model name. Requests lease; only the reconciler publishes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._routing = Routing()
        self._draining: tuple[Generation, ...] = ()
        self._list = threading.Lock()  # the list of those that drain; leasing never takes it

    @property
    def current(self) -> Generation | None:
        """The generation that answers requests which name no version."""
        return self._routing.pick()

    @property
    def generations(self) -> Mapping[str, Generation]:
        """Generations that answer, by version."""
        return {each.tag.version: each for each, _ in self._routing.shares}

    @property
    def draining(self) -> tuple[Generation, ...]:
        """Generations that are retired and not yet closed."""
        return self._draining

    def lease(self, version: str | None = None) -> Lease:
        """Borrow the generation that answers now; raise `ModelNotReady` or `VersionNotLoaded`."""
        while True:
            generation = self._choose(version)
            # It may have been retired since the table was read; then the table has changed, too.
            if generation.borrow():
                return Lease(generation)

    def _choose(self, version: str | None) -> Generation:
        routing = self._routing
        if version is None:
            chosen = routing.pick()
            if chosen is None:
                raise ModelNotReady(f"no version of {self.name} serves yet; try again shortly")
            return chosen
        chosen = routing.find(version)
        if chosen is None:
            raise VersionNotLoaded(
                f"{self.name}:{version} is not loaded; GET /models/{self.name} tells what serves"
            )
        return chosen

    def publish(self, fresh: Generation | None) -> tuple[Generation, ...]:
        """Serve `fresh` (None: nobody) from now on; retire and return those that served before."""
        retired = tuple(each for each, _ in self._routing.shares)
        with self._list:
            self._draining += retired
        self._routing = Routing() if fresh is None else Routing.to(fresh)
        for generation in retired:
            generation.retire()
        return retired

    def forget(self, generation: Generation) -> None:
        """Drop a closed generation."""
        with self._list:
            self._draining = tuple(each for each in self._draining if each is not generation)

    def __iter__(self) -> Iterator[Generation]:
        yield from (each for each, _ in self._routing.shares)
        yield from self._draining
