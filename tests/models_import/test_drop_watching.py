"""Events of a drop folder: of the folders that were named alone, whatever links lie in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from models_import import watcher as watching
from models_import.watcher import Watcher

LONG = 20.0


def _wakes(woken: threading.Event, change: Callable[[int], object]) -> bool:
    """Whether a wake comes after a change that is made again and again until one does."""
    woken.clear()
    for number in range(int(LONG / 0.1)):
        change(number)
        if woken.wait(0.1):
            return True
    return False


def _told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that the library has told of, each before the wake that comes of it."""
    paths, real = list[str](), watchfiles.watch

    def watch(*folders: Path, **options: Any) -> Iterator[set[tuple[watchfiles.Change, str]]]:
        for changes in real(*folders, **options):
            paths.extend(path for _, path in changes)
            yield changes

    monkeypatch.setattr(watchfiles, "watch", watch)
    return paths


def test_folders_are_asked_for_again_and_links_in_them_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_RECHECK_MS", 50)
    drop, outside = tmp_path / "drop", tmp_path / "outside"
    for folder in (drop, outside):
        folder.mkdir()
    (drop / "link").symlink_to(outside)
    folders = [drop]
    told = _told(monkeypatch)
    woken = threading.Event()
    watcher = Watcher(lambda: folders, woken.set, recursive=False)
    watcher.start()
    try:
        assert _wakes(woken, lambda number: (drop / f"file{number}").touch())
        late = drop / "late"
        late.mkdir()
        folders.append(late)
        assert _wakes(woken, lambda number: (late / f"file{number}").touch())

        # Events come in their order: one of outside would be here before the one inside that came later.
        def both(number: int) -> None:
            (outside / f"file{number}").touch()
            (late / f"again{number}").touch()

        while not any("again" in path for path in told):
            assert _wakes(woken, both)
        assert not [path for path in told if path.startswith(str(outside)) or "/link/" in path]
    finally:
        watcher.stop()
