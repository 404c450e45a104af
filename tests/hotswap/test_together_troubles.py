"""Workers that meet a full disk, a held lock, a lost version or the words of the dead: they go on."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from hotswap.desired import Desired, Edit, set_loaded
from registry.desired_file import DesiredFile
from registry.desired_memory import DesiredMemory
from registry.files import locked
from tests.hotswap.fakes import Hold
from tests.hotswap.test_together_refusals import refuse, turn
from tests.hotswap.workers import Board, Workers
from tests.hotswap.world import World

OLD, NEW = ["v1", "v1"], ["v2", "v2"]


@pytest.fixture
def two(tmp_path: Path) -> Workers:
    """Two workers that answer with v1; v2 is in the store."""
    workers = Workers(tmp_path, 2, "m:v1")
    workers.settle()
    workers.source.add("m:v2")
    return workers


def lose_board(workers: Workers, name: str = "m") -> None:
    """The decisions of a model can be neither read nor made any more."""
    folder = workers.folder / "commits" / name
    folder.rename(folder.with_name("away"))
    folder.touch()


# --- who was left behind, who died ---------------------------------------------------------------


def test_all_go_back_at_once_to_what_one_that_was_left_behind_still_holds(two: Workers) -> None:
    two.seats.alive.discard(0)
    two.settle(1)
    refuse(two.worlds[0])
    two.seats.alive.add(0)
    turn(two, 0, 1, 0)
    assert two.all() == [None, "v2"]
    two.aim("v1")
    for _ in range(3):
        turn(two, 0, 1)
    assert two.all() == OLD


def test_what_a_dead_worker_has_proposed_does_not_count_for_its_successor(two: Workers) -> None:
    two.load(0)
    two.worlds[0] = two.join(0)
    successor = two.worlds[0]
    successor.step()
    successor.background.run()
    successor.step()
    assert two.answers(0) == "v1"
    two.load(1)
    assert two.all() == OLD


def test_who_was_left_behind_decides_nothing_before_it_has_looked(two: Workers) -> None:
    two.load(0)
    two.seats.alive.discard(0)
    two.source.add("m:v3")
    two.settle(1)
    two.seats.alive.add(0)
    first = two.worlds[0]
    first.clock.now += 31  # longer than anybody is waited for
    first.reconciler.wait(0.0)  # nobody has woken it
    first.reconciler.wait(0.05)
    assert two.all() == [None, "v3"]
    two.settle()
    assert two.all() == ["v3", "v3"]


# --- what is decided stays -----------------------------------------------------------------------


def test_wishes_given_up_again_and_again_leave_what_holds_to_who_joins(two: Workers) -> None:
    refuse(two.worlds[1])
    for _ in range(17):
        two.aim("v2")
        turn(two, 0, 1, 0)
        two.aim("v1")
        turn(two, 0, 1)
    assert two.all() == OLD
    two.worlds[1] = two.join(1)
    turn(two, 1, 0)
    assert two.all() == OLD


def test_what_was_given_up_long_ago_is_not_decided_after_all(two: Workers) -> None:
    hold = Hold()
    two.board(0).at = ("before decide", hold.stop_here)
    two.load(1)
    thread = threading.Thread(target=two.load, args=[0])
    thread.start()
    hold.reached()
    two.seats.alive = {1, 2}  # the first is stopped; a third says nothing, so that nothing is decided
    for _ in range(17):
        two.aim("v1")
        two.load(1)
        two.aim("v2")
        two.load(1)
    assert two.answers(1) == "v1"
    hold.let_go()
    thread.join()
    assert two.answers(1) == "v1"


@pytest.mark.parametrize("lost", ["gone from the store", "cannot be loaded"])
@pytest.mark.parametrize("target", ["v1", "latest"])
def test_when_all_have_lost_what_they_answer_with_another_wish_is_followed(
    two: Workers, lost: str, target: str
) -> None:
    two.settle()
    assert two.all() == NEW
    two.worlds = [two.join(0), two.join(1)]
    if lost == "gone from the store":
        two.source.remove("m:v2")
    for world in two.worlds:
        refuse(world)
    two.source.latest["m"] = "v1"
    two.aim(target)
    for _ in range(5):
        turn(two, 0, 1)
    assert two.all() == OLD


# --- disks and locks -----------------------------------------------------------------------------


def fill_disk(board: Board) -> None:
    """Nothing can be decided through this worker as long as `at` says so."""

    def full() -> None:
        fill_disk(board)
        raise OSError(errno.ENOSPC, "No space left on device")

    board.at = ("before decide", full)


def free_disk(board: Board) -> None:
    """It can again."""
    board.at = ("", lambda: None)


def test_what_could_not_be_given_up_is_given_up_at_the_next_look(two: Workers) -> None:
    two.load(0)
    fill_disk(two.board(0))
    two.aim("v1")
    first = two.worlds[0]
    first.step()
    assert "No space left" in str(first.reconciler.trouble)
    free_disk(two.board(0))
    first.step()
    first.background.run_all()
    void = two.board(0).decision("m", two.worlds[1].number() + 1)
    assert void is not None
    assert void.void
    assert (first.loader.of("v2").closed, first.reconciler.trouble) == (1, None)


def test_what_is_loaded_beside_what_cannot_be_given_up_is_closed_and_loaded_again(two: Workers) -> None:
    two.load(0)
    fill_disk(two.board(0))
    two.source.add("m:v3")
    two.load(0)
    first = two.worlds[0]
    first.background.run_all()
    assert [(str(each.tag), each.closed) for each in first.loader.made[1:3]] == [("m:v2", 0), ("m:v3", 1)]
    free_disk(two.board(0))
    two.settle()
    assert two.all() == ["v3", "v3"]
    assert first.loader.of("v2").closed == 1


def test_what_cannot_be_given_up_keeps_no_other_model_from_its_swap(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "a:v1", "m:v1")
    workers.settle()
    workers.source.add("a:v2")
    workers.load(0)
    fill_disk(workers.board(0))
    workers.aim("v1", "a")
    workers.source.add("m:v2")
    workers.load(0)
    prepared = workers.worlds[0].reconciler.slots["m"].prepared
    assert prepared is not None
    assert prepared.tag.version == "v2"


def test_a_board_that_cannot_be_read_makes_requests_wait_and_not_fail(two: Workers) -> None:
    two.seats.alive.discard(0)
    two.settle(1)
    lose_board(two)
    assert two.answers(0) is None


def test_trouble_with_one_model_keeps_no_other_from_its_swap(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 1, "a:v1", "m:v1")
    workers.settle()
    lose_board(workers, "a")
    workers.store.edit(set_loaded("a", False, "test", None))
    workers.source.add("m:v2")
    workers.load(0)
    assert workers.answers(0) == "v2"
    assert workers.worlds[0].observer.swaps[-1].after == "v2"
    assert workers.store.read().models["m"].last_good == "v2"
    assert workers.worlds[0].reconciler.trouble is not None


@contextmanager
def all_locked(folder: Path) -> Iterator[None]:
    """Another process is stopped while it holds every lock there could be."""
    handles = [os.open(path, os.O_RDONLY) for path in folder.iterdir() if not path.is_symlink()]
    handles.append(os.open(folder / "words.lock", os.O_RDWR | os.O_CREAT))
    try:
        for handle in handles:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        for handle in handles:
            os.close(handle)


def test_a_request_waits_for_no_lock(two: Workers) -> None:
    with all_locked(two.folder / "commits" / "m"):
        assert two.view(2).number("m") == two.worlds[0].number()


def test_a_stopped_process_that_holds_the_lock_of_the_wishes_stops_no_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.desired_file.locked", partial(locked, seconds=0.05))
    world = World("m:v1", store=DesiredFile(tmp_path))
    world.settle()
    world.source.add("m:v2")
    with locked(tmp_path / "state" / "desired.lock"):
        world.settle()
        assert world.serving() == "v2"
        assert world.store.read().models["m"].last_good == "v1"
    world.step()
    assert world.store.read().models["m"].last_good == "v2"


class CountingStore(DesiredMemory):
    """Counts its edits."""

    edits = 0

    def edit(self, change: Edit) -> Desired:
        """Count."""
        self.edits += 1
        return super().edit(change)


def test_a_look_that_finds_nothing_new_edits_nothing() -> None:
    store = CountingStore()
    world = World("a:v1", "b:v1", store=store)  # two, so that none is the default
    world.settle()
    before = store.edits
    for _ in range(3):
        world.step()
    assert store.edits == before
