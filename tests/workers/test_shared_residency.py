"""The table of residency of several processes: edits are steps, what a worker tells is told to all."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from residency.planner import Eviction, Footprint, Resident, ResidentSet
from residency.table import LocalUse
from workers.bell import Bells
from workers.membership import WorkerTable
from workers.shared_residency import SharedTable

ONE = Footprint(1, 2, 3, 0.5)


class Both(WorkerTable):
    """Two seats whose processes live."""

    alive: tuple[int, ...] = (0, 1)

    def living(self) -> tuple[int, ...]:
        """Those that the test lets live."""
        return self.alive


@pytest.fixture
def seats(tmp_path: Path) -> Both:
    """The seats of a service."""
    return Both(tmp_path / "board", 2)


@pytest.fixture
def tables(tmp_path: Path, seats: Both) -> tuple[SharedTable, SharedTable]:
    """The views of two workers."""
    return SharedTable(tmp_path / "r", seats, 0), SharedTable(tmp_path / "r", seats, 1)


def with_one_more(before: ResidentSet) -> ResidentSet:
    """An edit whose loss would be seen."""
    entry = Resident(f"m{len(before.residents)}", "v1", ONE, since=1.5, eager=True)
    return ResidentSet((*before.residents, entry), before.evictions)


def _fork(work: Callable[[int], None], seat: int) -> int:
    """The pid of a fork that does this work and ends."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work(seat)
            status = 0
        finally:
            os._exit(status)
    return pid


def test_what_one_edits_the_other_sees(tables: tuple[SharedTable, SharedTable]) -> None:
    one, other = tables
    eviction = {"m": Eviction("v1", "evicted to make room for ünder", 2.5)}
    after = one.edit(lambda _: ResidentSet((Resident("m", "v1", ONE, 1.5, leaving=True),), eviction))
    assert other.residents() == after == one.residents()
    assert other.residents() is other.residents()  # read once for each number
    assert one.edit(lambda before: before) is after


@pytest.mark.process
def test_no_edit_of_several_processes_is_lost(tmp_path: Path, seats: Both) -> None:
    def work(seat: int) -> None:
        table = SharedTable(tmp_path / "r", seats, seat)
        for _ in range(50):
            table.edit(with_one_more)

    for child in [_fork(work, seat) for seat in (0, 1)]:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    names = [entry.name for entry in SharedTable(tmp_path / "r", seats, 0).residents().residents]
    assert names == [f"m{number}" for number in range(100)]


def test_an_edit_that_is_cut_off_changes_nothing(tables: tuple[SharedTable, SharedTable]) -> None:
    one, other = tables
    one.edit(with_one_more)

    def cut_off(before: ResidentSet) -> ResidentSet:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.edit(cut_off)
    # The copy that does not hold may be half written.
    start = one._start(one._words[0] + 1)
    one._words[start] = 5
    one._bytes[(start + 1) * 8 : (start + 1) * 8 + 5] = b"{half"
    assert len(other.residents().residents) == 1
    assert len(other.edit(with_one_more).residents) == 2


@pytest.mark.slow
def test_a_worker_that_is_stopped_in_an_edit_holds_the_others_up_only_so_long(
    tables: tuple[SharedTable, SharedTable], tmp_path: Path
) -> None:
    one, _ = tables
    handle = os.open(tmp_path / "r" / "edits", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    begun = time.monotonic()
    with pytest.raises(BlockingIOError, match="another worker"):
        one.edit(with_one_more)
    assert time.monotonic() - begun >= 1
    os.close(handle)
    assert len(one.edit(with_one_more).residents) == 1


def test_a_set_that_is_too_large_is_refused_and_the_last_one_holds(
    tables: tuple[SharedTable, SharedTable],
) -> None:
    one, other = tables
    one.edit(with_one_more)
    many = ResidentSet(tuple(Resident("m" * 60, f"v{number}", ONE, 0.0) for number in range(9000)))
    with pytest.raises(OSError, match="too many models"):
        one.edit(lambda _: many)
    assert len(other.residents().residents) == 1


def test_the_use_of_a_model_is_that_of_all_living_workers(
    tables: tuple[SharedTable, SharedTable], seats: Both
) -> None:
    one, other = tables
    before = time.monotonic()
    one.use("m").holds(["v1"])
    other.use("m").holds(["v1", "v2"])
    one.use("m").borrowed(2)
    other.use("m").borrowed(1)
    one.use("m").awaited(4)
    other.use("m").awaited(3)
    other.use("m").returned(0)
    use = one.uses(["m"])["m"]
    assert before <= use.last_used <= time.monotonic()
    assert (use.leases, use.awaited) == (2, 7)
    assert (use.is_held_by_all("v1"), use.is_held_by_all("v2"), use.is_held("v2")) == (True, False, True)
    seats.alive = (1,)
    assert one.uses(["m"])["m"].leases == 0  # those of a dead worker have ended
    other.use("m").opened()
    assert one.uses(["m"])["m"].opened >= use.last_used


def test_a_worker_that_holds_many_versions_says_so(tables: tuple[SharedTable, SharedTable]) -> None:
    one, other = tables
    one.use("m").holds([f"v{number}" for number in range(9)])
    assert other.uses(["m"])["m"].is_held("v8")
    one.use("m").holds([])
    assert not other.uses(["m"])["m"].is_held("v8")


def test_who_takes_a_seat_has_used_nothing_yet(tmp_path: Path, seats: Both) -> None:
    SharedTable(tmp_path / "r", seats, 0).use("m").borrowed(3)
    later = SharedTable(tmp_path / "r", seats, 0)
    later.use("m")
    assert later.uses(["m"])["m"].leases == 0


def test_the_first_budget_holds_for_all_and_what_workers_take_is_added_up(
    tables: tuple[SharedTable, SharedTable], seats: Both
) -> None:
    one, other = tables
    assert (one.agreed(500), other.agreed(300)) == (500, 500)
    one.report_base(10, 1)
    other.report_base(20, 2)
    assert one.base() == (30, 3)
    seats.alive = (0,)
    assert one.base() == (10, 1)


def test_without_room_for_its_registers_the_use_of_a_model_is_told_to_nobody(
    tables: tuple[SharedTable, SharedTable], tmp_path: Path
) -> None:
    one, _ = tables
    (tmp_path / "r" / "use-fresh").mkdir()  # as unusable as a full disk
    assert isinstance(one.use("fresh"), LocalUse)
    assert one.uses(["fresh"]) == {}


@pytest.mark.slow
def test_a_ring_is_heard_by_the_others_alone(tmp_path: Path) -> None:
    heard: list[int] = []
    bells = [Bells(tmp_path, 3, seat) for seat in range(2)]
    for seat, bell in enumerate(bells):
        bell.listen(lambda seat=seat: heard.append(seat))
    until = time.monotonic() + 5
    while not heard and time.monotonic() < until:
        bells[0].ring()
        time.sleep(0.001)
    assert set(heard) == {1}
    for bell in bells:
        bell.stop()
