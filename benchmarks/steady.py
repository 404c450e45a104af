"""Throughput and latency of the service while nothing swaps, beside the limit of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.client import Load, LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.limit import Limit, Work
from benchmarks.serving import Service

CONCURRENCY = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One load on one service, and what each of its workers spent on it."""

    load: Load
    cpu_seconds: tuple[float, ...]

    @property
    def answered(self) -> int:
        """How many answers were paid for."""
        return max(1, len(self.load.done) + self.load.late)

    @property
    def cpu_ms(self) -> float:
        """The workers' processor time for one answer."""
        return sum(self.cpu_seconds) * 1e3 / self.answered

    @property
    def client_ms(self) -> float:
        """The load generator's processor time for one answer."""
        return self.load.cpu_seconds * 1e3 / self.answered

    @property
    def busiest(self) -> float:
        """The share of the work that the busiest worker did."""
        return max(self.cpu_seconds) / (sum(self.cpu_seconds) or 1.0)

    def latency(self, share: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return percentile([one.milliseconds for one in self.load.done], share)


@dataclass(slots=True)
class Case:
    """One picture size, number of workers and concurrency, over all rounds."""

    size: str
    workers: int
    concurrency: int
    rounds: list[Loaded] = field(default_factory=list)
    #: The limit taken just before and just after, in pictures a second.
    limits: list[float] = field(default_factory=list)
    #: The median of the same work in one process without a server, in the same round.
    alone: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> Spread:
        """Throughput as a share of the limit."""
        pairs = zip(self.rounds, self.limits, strict=True)
        return Spread.of([one.load.rate / limit for one, limit in pairs])

    @property
    def rate(self) -> Spread:
        """Answers a second."""
        return Spread.of([one.load.rate for one in self.rounds])

    @property
    def overhead(self) -> Spread:
        """How much later than without a server the median answer comes, in milliseconds."""
        pairs = zip(self.rounds, self.alone, strict=True)
        return Spread.of([one.latency(0.5) - alone for one, alone in pairs])

    def latency(self, share: float) -> Spread:
        """A percentile of the latencies, in milliseconds."""
        return Spread.of([one.latency(share) for one in self.rounds])

    @property
    def cpu_ms(self) -> Spread:
        """The workers' processor time for one answer."""
        return Spread.of([one.cpu_ms for one in self.rounds])

    @property
    def client_ms(self) -> Spread:
        """The load generator's processor time for one answer."""
        return Spread.of([one.client_ms for one in self.rounds])

    @property
    def busiest(self) -> Spread:
        """The share of the work that the busiest worker did."""
        return Spread.of([one.busiest for one in self.rounds])

    @property
    def failed(self) -> int:
        """Answers other than 200, and connections that broke, over all rounds."""
        return sum(one.load.failed for one in self.rounds)


@dataclass(slots=True)
class SizeResult:
    """All cases of one picture size, and the limit itself."""

    size: str
    cases: list[Case]
    limits: list[Work] = field(default_factory=list)
    alone: list[Work] = field(default_factory=list)

    @property
    def cores(self) -> Spread:
        """How many cores the limit had."""
        return Spread.of([one.cores for one in self.limits])

    def thrift(self, case: Case) -> float:
        """The limit's processor time for a picture as a share of what an answer costs, client included.

        No neighbour changes it much: the throughput that is to be had on a machine of our own.
        """
        return median(one.cpu_ms for one in self.limits) / (case.cpu_ms.median + case.client_ms.median)


class Steady:
    """Takes the rounds. Each round interleaves the limit with every service at every concurrency."""

    def __init__(self, limit: Limit, services: Sequence[Service], sizes: Sequence[tuple[str, float]]) -> None:
        """`sizes`: the name of each set of pictures that `limit` has, and the seconds of one load."""
        self._limit = limit
        self._services = services
        self._sizes = sizes
        self.results = [
            SizeResult(size, [Case(size, one.workers, c) for c in CONCURRENCY for one in services])
            for size, _ in sizes
        ]

    def round(self, pictures: Sequence[Sequence[bytes]]) -> Iterator[str]:
        """Take one round, telling what comes next."""
        for chosen, (size, seconds) in enumerate(self._sizes):
            yield f"{size}: one process, no server"
            result = self.results[chosen]
            alone = self._limit.run(chosen, seconds, processes=1)
            result.alone.append(alone)
            before = self._take_limit(chosen, seconds)
            for concurrency in CONCURRENCY:
                yield f"{size}: concurrency {concurrency}"
                taken = [(one, load(one, pictures[chosen], concurrency, seconds)) for one in self._services]
                after = self._take_limit(chosen, seconds)
                for service, loaded in taken:
                    case = self._case(result, service, concurrency)
                    case.rounds.append(loaded)
                    case.limits.append((before + after) / 2)
                    case.alone.append(percentile(alone.milliseconds, 0.5))
                before = after

    def _take_limit(self, chosen: int, seconds: float) -> float:
        work = self._limit.run(chosen, seconds)
        self.results[chosen].limits.append(work)
        return work.rate

    @staticmethod
    def _case(result: SizeResult, service: Service, concurrency: int) -> Case:
        return next(
            case
            for case in result.cases
            if (case.workers, case.concurrency) == (service.workers, concurrency)
        )


def load(service: Service, pictures: Sequence[bytes], concurrency: int, seconds: float) -> Loaded:
    """Load a service for some seconds."""
    host, port = service.address
    requests = [request(host, port, picture) for picture in pictures]
    before = service.cpu_seconds()
    until = time.monotonic() + seconds
    seen = LoadGenerator((host, port), requests, concurrency).run(lambda: time.monotonic() >= until)
    spent = zip(before, service.cpu_seconds(), strict=True)
    return Loaded(seen, tuple(after - begun for begun, after in spent))
