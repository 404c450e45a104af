"""Counts of requests that all workers share: exact, bounded, and kept."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from common.quotas import DAY, MINUTE, Quota
from hotswap.errors import Overloaded
from tests.hotswap.fakes import FakeClock
from workers.request_counts import MOST_NAMES, RequestCounts

TWO_A_MINUTE = Quota(per_minute=2)


@pytest.fixture
def clock() -> FakeClock:
    clock = FakeClock()
    clock.now = 1_800_000_000.0
    return clock


@pytest.fixture
def counts(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], RequestCounts]]:
    """Opens the table, as each worker does."""
    made: list[RequestCounts] = []

    def opened() -> RequestCounts:
        made.append(RequestCounts(tmp_path / "run" / "counts", clock))
        return made[-1]

    yield opened
    for each in made:
        each.close()


def test_a_minute_begins_with_its_first_request(
    counts: Callable[[], RequestCounts], clock: FakeClock
) -> None:
    one, other = counts(), counts()
    assert one.take([("a", TWO_A_MINUTE)]) is None
    clock.now += 59
    assert other.take([("a", TWO_A_MINUTE)]) is None
    excess = one.take([("a", TWO_A_MINUTE)])
    assert excess is not None
    assert (excess.name, excess.quota, excess.seconds) == ("a", TWO_A_MINUTE, pytest.approx(1))
    assert one.take([("b", TWO_A_MINUTE)]) is None
    clock.now += 1
    assert one.take([("a", TWO_A_MINUTE)]) is None


def test_a_day_holds_beside_its_minutes(counts: Callable[[], RequestCounts], clock: FakeClock) -> None:
    one, quota = counts(), Quota(2, 3)
    begun = clock.now
    for _ in range(3):
        assert one.take([("a", quota)]) is None
        clock.now += MINUTE
    excess = one.take([("a", quota)])
    assert excess is not None
    assert excess.seconds == pytest.approx(begun + DAY - clock.now)
    clock.now = begun + DAY
    assert one.take([("a", quota)]) is None


def test_all_quotas_of_a_request_are_taken_or_none(counts: Callable[[], RequestCounts]) -> None:
    one, many = counts(), Quota(per_minute=10)
    for _ in range(2):
        assert one.take([("user", many), ("all", TWO_A_MINUTE)]) is None
    for _ in range(20):
        excess = one.take([("user", many), ("all", TWO_A_MINUTE)])
        assert excess is not None
        assert excess.name == "all"
    for _ in range(8):
        assert one.take([("user", many)]) is None
    assert one.take([("user", many)]) is not None


def test_a_clock_that_is_set_back_begins_no_new_window(
    counts: Callable[[], RequestCounts], clock: FakeClock
) -> None:
    one = counts()
    one.take([("a", TWO_A_MINUTE)])
    clock.now -= 3600
    assert one.take([("a", TWO_A_MINUTE)]) is None
    assert one.take([("a", TWO_A_MINUTE)]) is not None


def test_counts_outlive_the_service(counts: Callable[[], RequestCounts]) -> None:
    for _ in range(2):
        counts().take([("a", TWO_A_MINUTE)])
    assert counts().take([("a", TWO_A_MINUTE)]) is not None


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 5_000_000])
def test_a_file_of_another_size_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counts"
    path.write_bytes(content)
    counts = RequestCounts(path)
    assert counts.take([("a", TWO_A_MINUTE)]) is None
    counts.close()


def test_a_row_of_nonsense_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    counts = RequestCounts(path)
    counts.take([("a", TWO_A_MINUTE)])
    content = bytearray(path.read_bytes())
    start = next(place for place in range(0, len(content), 56) if content[place])
    content[start + 16 : start + 56] = b"\xff" * 40  # times that are no numbers
    with path.open("r+b") as file:
        file.write(content)
    for _ in range(2):
        assert counts.take([("a", TWO_A_MINUTE)]) is None
    assert counts.take([("a", TWO_A_MINUTE)]) is not None
    counts.close()


@pytest.mark.slow
def test_names_without_number_take_no_more_room(
    counts: Callable[[], RequestCounts], clock: FakeClock
) -> None:
    one = counts()
    one.take([("first", TWO_A_MINUTE)])
    for number in range(MOST_NAMES):
        clock.now += 0.001
        assert one.take([(str(number), TWO_A_MINUTE), (f"{number}+", TWO_A_MINUTE)]) is None
    for _ in range(2):
        assert one.take([(str(MOST_NAMES - 1), Quota(per_minute=3))]) is None
    assert one.take([(str(MOST_NAMES - 1), Quota(per_minute=3))]) is not None


def test_who_keeps_the_table_stops_nobody_for_long(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    counts = RequestCounts(path)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Overloaded):
            counts.take([("a", TWO_A_MINUTE)])
    assert counts.take([("a", TWO_A_MINUTE)]) is None
    counts.close()


_WORKER = """
import sys
from pathlib import Path
from common.quotas import Quota
from workers.request_counts import RequestCounts
counts = RequestCounts(Path(sys.argv[1]))
sys.stdin.readline()
print(sum(counts.take([("a", Quota(per_day=1000)), ("b", Quota(per_day=5000))]) is None for _ in range(800)))
"""


@pytest.mark.process
def test_processes_and_threads_together_take_exactly_the_quota(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    counts, barrier = RequestCounts(path), Barrier(4)
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, str(path)], stdin=pipe, stdout=pipe, text=True)
        for _ in range(2)
    ]

    def ask() -> int:
        barrier.wait()
        return sum(counts.take([("a", Quota(per_day=1000))]) is None for _ in range(200))

    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    with ThreadPoolExecutor(4) as threads:
        answered = sum(asked.result() for asked in [threads.submit(ask) for _ in range(4)])
    for worker in workers:
        told, _ = worker.communicate(timeout=30)
        answered += int(told)
    assert answered == 1000
    counts.close()
