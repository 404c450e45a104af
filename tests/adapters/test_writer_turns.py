"""Turns of the writers of one SQLite file, in threads and processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from adapters.sql.writer_turns import WriterTurns, turns_of


def test_a_thread_may_take_its_turn_again_and_others_wait(tmp_path: Path) -> None:
    turns = WriterTurns(tmp_path / "a.db")
    got = threading.Event()

    def write() -> None:
        with turns.turn(10):
            got.set()

    other = threading.Thread(target=write)
    with turns.turn(1), turns.turn(1):
        other.start()
        assert not got.wait(0.05)
    other.join(10)
    assert got.is_set()


def test_who_waits_too_long_is_told_so_and_holds_nothing(tmp_path: Path) -> None:
    one, two = WriterTurns(tmp_path / "a.db"), WriterTurns(tmp_path / "a.db")
    with one.turn(1):
        for _ in range(2):
            with pytest.raises(TimeoutError), two.turn(0.01):
                pass
    with two.turn(0.01):
        pass


@pytest.mark.process
def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with WriterTurns(file).turn(1):
            os.write(write, b"1")
            signal.pause()
    assert os.read(read, 1) == b"1"
    with pytest.raises(TimeoutError), WriterTurns(file).turn(0.01):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with WriterTurns(file).turn(1):
        pass


def test_a_folder_that_cannot_be_written_leaves_it_to_sqlite(tmp_path: Path) -> None:
    with WriterTurns(tmp_path / "missing" / "a.db").turn(0.01):
        pass


def test_all_that_open_one_file_share_its_turns(tmp_path: Path) -> None:
    assert turns_of(str(tmp_path / "a.db")) is turns_of(str(tmp_path / "a.db"))
    assert turns_of(":memory:") is not turns_of(":memory:")
