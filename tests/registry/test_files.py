"""Files that are never half seen, and locks that end with their process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from common.files import locked, write_atomically


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert (reader.read(), path.read_bytes()) == (b"old", b"new")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("common.files.os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_at_a_time_holds_a_lock_and_an_error_gives_it_back(tmp_path: Path) -> None:
    path, order, waiting = tmp_path / "made" / "lock", list[str](), threading.Event()

    def second() -> None:
        waiting.set()
        with locked(path):
            order.append("second")

    def first() -> None:
        with locked(path):
            thread.start()
            assert waiting.wait(20)
            order.append("first")
            raise ValueError("first")

    thread = threading.Thread(target=second)
    with pytest.raises(ValueError, match="first"):
        first()
    thread.join(20)
    assert order == ["first", "second"]


def test_a_lock_that_another_holds_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), pytest.raises(TimeoutError, match="locked by another"), locked(path, 0.05):
        pass
    with locked(path, 0.05):
        pass
