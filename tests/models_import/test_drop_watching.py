"""Events of a drop folder: of the folders that were named alone, whatever links lie in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models_import import watcher as watching
from models_import.watcher import Watcher

LONG = 8.0


def _wakes(woken: threading.Event, change: Callable[[int], object]) -> bool:
    """Whether a wake comes after a change that is made again and again until one does."""
    woken.clear()
    for number in range(int(LONG / 0.1)):
        change(number)
        if woken.wait(0.1):
            return True
    return False


def test_folders_are_asked_for_again_and_links_in_them_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_RECHECK_MS", 50)
    drop, outside = tmp_path / "drop", tmp_path / "outside"
    for folder in (drop, outside):
        folder.mkdir()
    (drop / "link").symlink_to(outside)
    folders = [drop]
    woken = threading.Event()
    watcher = Watcher(lambda: folders, woken.set, recursive=False)
    watcher.start()
    try:
        assert _wakes(woken, lambda number: (drop / f"file{number}").touch())
        late = drop / "late"
        late.mkdir()
        folders.append(late)
        assert _wakes(woken, lambda number: (late / f"file{number}").touch())

        # What is told after a change outside was told by the one inside that came later.
        woken.clear()
        while woken.wait(0.3):
            woken.clear()
        (outside / "file").touch()
        assert not woken.wait(0.5)
        assert _wakes(woken, lambda number: (late / f"again{number}").touch())
    finally:
        watcher.stop()
