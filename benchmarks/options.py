"""What the command line may ask of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PARTS: Final = (
    "start",
    "cold",
    "load",
    "steady",
    "swap",
    "churn",
    "memory",
    "wires",
    "families",
    "batching",
    "cameras",
    "streams",
    "traced",
    "guarded",
)
_EXAMPLES = """
examples:
  python -m benchmarks.run                            everything; about thirteen minutes
  python -m benchmarks.run --quick                    one short round of everything, to see that it works
  python -m benchmarks.run --only steady --rounds 9   a narrower spread of the throughput
  OKAWARI_TEST_DATA=/data python -m benchmarks.run    real weights (/data/models) and photographs
                                                      (/data/images) instead of generated ones

Let nothing else run meanwhile: a neighbour takes more from the limit, which has one thread a core,
than from the service, which has more, and so flatters the service. The table says when that was so.
What counts are the ratios, taken beside the limit in the same round. Nothing fails because it is slow.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured, and where the results go."""

    parts: tuple[str, ...] = PARTS
    rounds: int = 4
    seconds: float = 1.5
    swaps: int = 5
    memory_swaps: int = 30
    results: Path = Path("bench-results")

    @property
    def large_seconds(self) -> float:
        """Pictures of twelve megapixels take longer each."""
        return self.seconds * 1.6

    @property
    def steady_seconds(self) -> float:
        """Before and between swaps."""
        return self.seconds * 2


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; ends the process where it is wrong."""
    plain, short = Options(), Options(rounds=1, seconds=0.7, swaps=1, memory_swaps=3)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure the service beside the limit of the machine; a table, and a JSON file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given more than once")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"throughput: default {plain.rounds}")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"one load: default {plain.seconds}")
    parser.add_argument("--swaps", type=int, metavar="N", help=f"swaps under load: default {plain.swaps}")
    parser.add_argument(
        "--memory-swaps", type=int, metavar="N", help=f"swaps of 96 MB: default {plain.memory_swaps}"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help=f"default {plain.results}/")
    found = parser.parse_args(arguments)
    base = short if found.quick else plain
    options = Options(
        parts=tuple(part for part in PARTS if part in (found.only or PARTS)),
        rounds=base.rounds if found.rounds is None else found.rounds,
        seconds=base.seconds if found.seconds is None else found.seconds,
        swaps=base.swaps if found.swaps is None else found.swaps,
        memory_swaps=base.memory_swaps if found.memory_swaps is None else found.memory_swaps,
        results=base.results if found.results is None else found.results,
    )
    if min(options.rounds, options.swaps, options.memory_swaps) < 1 or options.seconds <= 0:
        parser.error("rounds and swaps must be 1 or more, seconds more than 0")
    return options
