"""A heavy model goes back and forth, and memory comes back each time."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Service
from tests.e2e.heavy_model import add_heavy
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_swapping_a_heavy_model_holds_no_memory(make_service: Start, store: Store) -> None:
    for version in (1, 2):
        add_heavy(store, f"v{version}", version, SIZES.memory_bytes)
    service = make_service(store.home, OKAWARI_GUARD_SECONDS="0").ready()  # nothing is kept warm
    assert service.version() == "v2"
    seen = [
        _resident_after_swap(service, swap, "v2" if swap % 2 == 0 else "v1")
        for swap in range(1, SIZES.memory_swaps + 1)
    ]
    # A worker is a fork: it maps the pages of the master's libraries when it first comes to them.
    first = len(seen) // 4
    without = min(seen[first : first + 5])
    # One reading may come while a thread holds a few megabytes for the moment; what is lost stays in all.
    grown = min(seen[-5:]) - without
    print(f"{without / 1e6:.1f} MB after {first} swaps, {seen[-1] / 1e6:.1f} after {len(seen)}")
    assert grown <= 0.05 * SIZES.memory_bytes * service.count, " ".join(
        str(round(each / 1e6)) for each in seen
    )


def _resident_after_swap(service: Service, swap: int, version: str) -> int:
    """Swap, use what serves now, and wait until what served before is freed."""
    answer = service.target(version)
    assert answer.status_code == 200, answer.text
    assert service.version() == version
    closed = swap * service.count
    until(
        lambda: service.figure("model_generations_closed_total", model="m") == closed,
        "the old ones are freed",
    )
    return service.resident()
