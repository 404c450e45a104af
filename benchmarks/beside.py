"""One service beside another that differs in one thing, loaded in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Spread
from benchmarks.serving import Service
from benchmarks.steady import Loaded, load

#: With a load generator on the same two cores: half of what one worker can do, and all of it.
CONCURRENCY = (1, 16)


@dataclass(slots=True)
class BesideResult:
    """One concurrency: what each service did in each round."""

    concurrency: int
    plain: list[Loaded] = field(default_factory=list)
    other: list[Loaded] = field(default_factory=list)

    def of_plain(self, figure: Callable[[Loaded], float]) -> Spread:
        """A figure of the other service as a share of the plain one's, in the same round."""
        pairs = zip(self.other, self.plain, strict=True)
        return Spread.of([figure(other) / figure(plain) for other, plain in pairs])

    @property
    def more_cpu_ms(self) -> Spread:
        """The processor time that the difference costs, for one answer."""
        pairs = zip(self.other, self.plain, strict=True)
        return Spread.of([other.cpu_ms - plain.cpu_ms for other, plain in pairs])

    @property
    def failed(self) -> int:
        """Answers other than 200."""
        return sum(one.load.failed for one in (*self.plain, *self.other))


def measure(
    plain: Service,
    other: Service,
    pictures: Sequence[bytes],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[BesideResult]:
    """Load both, one after the other; which comes first changes with each round."""
    results = [BesideResult(concurrency) for concurrency in CONCURRENCY]
    for number in range(rounds):
        for result in results:
            turns = [(plain, result.plain), (other, result.other)]
            for service, runs in turns if number % 2 == 0 else reversed(turns):
                runs.append(load(service, pictures, result.concurrency, seconds))
            tell(f"concurrency {result.concurrency}")
    return results
