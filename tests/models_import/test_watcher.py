"""File events are a hint: they come when they can, and nothing that befalls a folder ends them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models_import import watcher as watching
from models_import.watcher import Watcher

LONG = 20.0


class Woken:
    """Counts wakes and lets a test wait for the next."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self) -> None:
        self.event.set()

    def after(self, change: object) -> bool:
        """Whether a wake comes after `change()` was made, again and again until one does."""
        self.event.clear()
        for number in range(int(LONG / 0.1)):
            change(number)  # type: ignore[operator]
            if self.event.wait(0.1):
                return True
        return False


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_RECHECK_MS", 50)


@pytest.fixture
def watched(tmp_path: Path, woken: Woken) -> Iterator[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    watcher = Watcher([folder, tmp_path / "missing"], woken)
    watcher.start()
    yield folder
    watcher.stop()
    assert not [one for one in threading.enumerate() if one.name == "okawari-watcher"]


def test_a_change_wakes(watched: Path, woken: Woken) -> None:
    assert woken.after(lambda number: (watched / f"file{number}").touch())


def test_a_change_deep_below_wakes(watched: Path, woken: Woken) -> None:
    (watched / "code/v1").mkdir(parents=True)
    assert woken.after(lambda number: (watched / f"code/v1/file{number}").touch())


def test_a_folder_that_comes_later_wakes_and_is_watched(watched: Path, woken: Woken) -> None:
    late = watched.parent / "missing"
    assert woken.after(lambda number: late.mkdir(exist_ok=True))
    assert woken.after(lambda number: (late / f"file{number}").touch())


def test_a_folder_that_was_exchanged_is_watched_on(watched: Path, woken: Woken) -> None:
    assert woken.after(lambda number: (watched / f"file{number}").touch())
    shutil.rmtree(watched)
    watched.mkdir()
    assert woken.after(lambda number: (watched / f"new{number}").touch())


@pytest.mark.slow
def test_a_wake_that_raises_does_not_end_it(tmp_path: Path, woken: Woken) -> None:
    def wake() -> None:
        woken()
        raise RuntimeError("whoever is woken")

    watcher = Watcher([tmp_path], wake)
    watcher.start()
    for prefix in ("a", "b"):
        assert woken.after(lambda number, prefix=prefix: (tmp_path / f"{prefix}{number}").touch())
    watcher.stop()


def test_a_library_that_fails_does_not_end_it(
    tmp_path: Path, woken: Woken, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    failed = threading.Event()
    real = watchfiles.watch

    def watch(*paths: Path, **options: object) -> object:
        if not failed.is_set():
            failed.set()
            raise OSError("no more watches")
        return real(*paths, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(watchfiles, "watch", watch)
    watcher = Watcher([tmp_path], woken)
    watcher.start()
    assert failed.wait(LONG)
    assert woken.after(lambda number: (tmp_path / f"file{number}").touch())
    watcher.stop()


def test_stopping_before_starting_and_twice_does_no_harm(tmp_path: Path, woken: Woken) -> None:
    watcher = Watcher([tmp_path], woken)
    watcher.stop()
    watcher = Watcher([], woken)
    watcher.start()
    watcher.stop()
    watcher.stop()
