"""How long a message is tried for, and how long to wait between two tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits grow from `first` to `longest` seconds, by chance a half less; after `seconds` it is given up.

    The time counts from the first try. So a service that restarts is waited for, and a message that cannot
    be answered holds its partition up for so long at most.
    """

    seconds: float = 600.0
    first: float = 0.2
    longest: float = 10.0

    def wait(
        self, tries: int, elapsed: float, asked: float | None, chance: Callable[[], float]
    ) -> float | None:
        """Seconds until the next try after so many failed ones; None: it is given up.

        `asked` is what the service asked for, `chance` gives a number in 0..1.
        """
        grown = self.first * 2.0 ** min(tries - 1, 30)
        wait = min(self.longest, grown) * (0.5 + 0.5 * chance())
        if asked is not None:
            wait = max(wait, min(asked, self.longest))
        return wait if elapsed + wait <= self.seconds else None
