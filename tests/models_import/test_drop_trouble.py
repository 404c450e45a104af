"""A drop folder, a store or a disk that fails is waited for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.models_import.drops import QUIET, Drop, put, words


@pytest.fixture
def drop(tmp_path: Path, home: Path) -> Drop:
    return Drop(tmp_path, home)


class TestTrouble:
    @pytest.mark.slow
    def test_a_full_disk_is_tried_again_ever_later(self, tmp_path: Path, home: Path) -> None:
        free = [0]
        drop = Drop(tmp_path, home, free_bytes=lambda: free[0])
        folder = put(drop)
        drop.turns()
        drop.passes(QUIET)
        assert drop.imports == 1
        drop.passes(1.9)
        assert drop.imports == 1
        drop.passes(0.1)
        assert drop.imports == 2
        for _ in range(600):
            drop.passes(1)
        assert 10 < drop.imports < 20
        assert "0 MB are free" in words(folder)
        assert "It is tried again by itself" in words(folder)
        free[0] = 10**12
        drop.passes(60)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_a_store_that_cannot_be_written_is_tried_again(self, tmp_path: Path, home: Path) -> None:
        home.write_text("in the way")
        drop = Drop(tmp_path, home)
        folder = put(drop)
        drop.settles()
        assert "Not a directory" in words(folder)
        home.unlink()
        drop.passes(60)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_a_folder_that_goes_and_comes_is_told_and_nothing_is_done_twice(
        self, drop: Drop, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(drop)
        drop.settles()
        away = tmp_path / "away"
        drop.folder.rename(away)
        with caplog.at_level(logging.INFO, "okawari.drop"):
            for _ in range(3):
                assert drop.turns() > 0
            away.rename(drop.folder)
            drop.settles()
        assert [line.partition(" ")[2] for line in caplog.messages] == [
            "is away or cannot be read; waiting for it",
            "is there again",
        ]
        assert drop.imports == 1
        put(drop, "v2")
        drop.settles()
        assert drop.store() == ["v1", "v2"]

    def test_a_folder_that_goes_in_the_middle_of_an_import(self, drop: Drop, tmp_path: Path) -> None:
        put(drop)
        away = tmp_path / "away"

        def vanish(step: str) -> None:
            if step == "copy" and drop.imports == 1:
                drop.folder.rename(away)

        drop.on_step = vanish
        drop.settles()
        assert (drop.store(), drop.imports) == ([], 1)
        away.rename(drop.folder)
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1"], [])
