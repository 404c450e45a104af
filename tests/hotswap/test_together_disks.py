"""Workers that meet a full disk, a damaged board or a held lock: they go on."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from common.files import locked
from hotswap.desired import DesiredState, Edit, set_loaded
from registry.file_store import DesiredFile
from tests.hotswap.workers import Board, Workers
from tests.hotswap.world import World
from tests.support.desired_memory import DesiredMemory


def lose_board(workers: Workers, name: str = "m") -> None:
    """The decisions of a model can be neither read nor made any more."""
    folder = workers.folder / "commits" / name
    folder.rename(folder.with_name("away"))
    folder.touch()


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
    assert "No space left" in str(first.reconciler.observed.trouble)
    free_disk(two.board(0))
    first.step()
    first.background.run_all()
    void = two.board(0).decision("m", two.worlds[1].number() + 1)
    assert void is not None
    assert void.void
    assert (first.loader.of("v2").closed, first.reconciler.observed.trouble) == (1, None)


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
    prepared = workers.worlds[0].reconciler.observed.slots["m"].prepared
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
    assert workers.worlds[0].reconciler.observed.trouble is not None


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
    monkeypatch.setattr("registry.file_store.locked", partial(locked, seconds=0.05))
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

    def edit(self, change: Edit) -> DesiredState:
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
