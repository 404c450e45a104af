"""How big the reliability tests are. One setting: OKAWARI_PROVE.

Unset they have their everyday size; `1` is the full size, a fraction such as `0.1` that part of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tests import builders

_PROVE = float(os.environ.get("OKAWARI_PROVE") or 0)
#: Whether services are started as users start them, not in the quicker way of the everyday size.
FULL_SIZE = _PROVE >= 1


def _size(everyday: int, full: int) -> int:
    return max(everyday, round(full * _PROVE))


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the tests ask for."""

    requests: int = _size(1_500, 20_000)
    swaps: int = _size(10, 100)
    memory_swaps: int = _size(20, 200)
    memory_bytes: int = builders.HEAVY
    fuzz: int = _size(300, 3_000)
    worker_swaps: int = _size(12, 100)
    new_models: int = _size(2, 10)
    many_models: int = _size(300, 10_000)
    stops: int = _size(1, 10)
    many_hand_ins: int = _size(2_000, 50_000)
    hand_ins: int = _size(400, 10_000)
    promotions: int = _size(10, 40)
    overload_rounds: int = _size(3, 20)
    examples: int = _size(100, 300)
    orders: int = _size(30, 200)
    good_versions: int = _size(3, 100)


SIZES = Sizes()

#: Seconds that one test may take; more at the larger sizes.
LIMIT = _size(120, 3600)

#: Seconds between two requests of a connection. An import gives way to everything else on the machine: at the
#: everyday size it should not starve beside requests that no test counts.
PAUSE = 0.0 if FULL_SIZE else 0.02

#: Seconds within which anything that should happen has happened, on any machine.
SOON = 60.0
