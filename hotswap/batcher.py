"""Which requests run as one batch: those that wait at the same time, for one generation, with equal options.

Decoding, deadlines, leases and errors stay those of each request; only the run of the graph is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hotswap.generation import Generation
from hotswap.predictions import Options, Picture, Predictions
from hotswap.runner import BatchRunner

#: What one member of a batch gets: its answer, or the error that is its alone.
Outcome = Predictions | Exception


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What all members of a batch have in common.

    `size` is their greatest number, `wait` the seconds for which the first waits for more.
    """

    generation: Generation
    options: Options
    size: int
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchMember:
    """A request that may run with others of an equal key.

    `begin` gives its one picture, `end` turns its predictions into what its caller gets; either may raise
    what ends this request alone. `together` runs the pictures of all members.
    """

    key: BatchKey
    begin: Callable[[], Sequence[Picture]]
    end: Callable[[Predictions], Any]
    together: Callable[[Sequence[Sequence[Picture]]], Sequence[Outcome]]


def batch_key(generation: Generation, options: Options, pictures: int, bound: int | None) -> BatchKey | None:
    """The key of a request for so many pictures, None where it runs alone; `bound` is the service's most.

    Requests are grouped only where the version's config asks for it and its graph takes several pictures.
    """
    batching = generation.artifact.config.batching
    if batching is None or pictures != 1:
        return None
    runner = generation.runner
    size = batching.max_size if bound is None else min(batching.max_size, bound)
    if size < 2 or not isinstance(runner, BatchRunner) or not runner.batches:
        return None
    return BatchKey(generation, options, size, batching.max_wait_ms / 1e3)


def companions(key: BatchKey, waiting: Iterable[BatchKey | None], room: int) -> list[int]:
    """The places in the queue of those who join a batch that has room for so many, first come first."""
    places: list[int] = []
    for place, other in enumerate(waiting):
        if len(places) >= room:
            break
        if other == key:
            places.append(place)
    return places


def seconds_to_wait(key: BatchKey, members: int, since: float, now: float) -> float:
    """How much longer a batch of so many waits for more; `since` is when its first member came."""
    return 0.0 if members >= key.size else max(0.0, since + key.wait - now)
