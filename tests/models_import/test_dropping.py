"""What is put into a drop folder comes in when it is whole, and never before; what cannot says why."""

from __future__ import annotations

import gc
import logging
import math
import shutil
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from hotswap.artifact import Artifact
from hotswap.manifest import Measured
from hotswap.tags import ModelTag
from models_import.drop_case import Case, decide
from models_import.errors import ImportRefused
from models_import.model_yaml import read
from models_import.probe import Task
from models_import.remover import remove
from models_import.store import ModelStore
from tests.builders import graph, write_version
from tests.models_import.drops import QUIET, SETTLED, Drop
from tests.models_import.shop import bring, stock, tree

NEVER = math.inf


@pytest.fixture
def drop(tmp_path: Path, home: Path) -> Drop:
    return Drop(tmp_path, home)


def put(drop: Drop, version: str = "v1", code: int = 1, **more: object) -> Path:
    return write_version(drop.folder, "code", version, code, **more)  # type: ignore[arg-type]


def words(note: Path) -> str:
    return (note / "IMPORT-FAILED.txt").read_text()


@pytest.mark.parametrize(
    ("case", "lacks", "found"),
    [
        (Case("a", 100), None, ("try", 100 + QUIET)),
        (Case("a", 100, tries=1), None, ("try", 100 + 2 * QUIET)),
        (Case("a", 100, tries=50), None, ("try", 100 + SETTLED)),
        (Case("a", 100), "weights", ("note", 100 + SETTLED)),
        (Case("a", 100, noted=True), "weights", ("rest", NEVER)),
        (Case("a", 100, reason="bad"), None, ("note", 100 + SETTLED)),
        (Case("a", 100, reason="bad", noted=True), None, ("rest", NEVER)),
        (Case("a", 100, reason="full", retry_at=105), None, ("try", 105)),
        (Case("a", 100, reason="full", retry_at=160), None, ("note", 100 + SETTLED)),
        (Case("a", 100, reason="full", retry_at=160, noted=True), None, ("try", 160)),
        (Case("a", 100, done=True), None, ("rest", NEVER)),
    ],
)
def test_what_is_done_next(case: Case, lacks: str | None, found: tuple[str, float]) -> None:
    assert decide(case, lacks) == found


class TestComesIn:
    def test_what_lies_there_at_the_start_in_natural_order(self, drop: Drop) -> None:
        for version in ("10", "2", "v1"):
            put(drop, version)
        drop.turns()
        drop.passes(QUIET)
        assert drop.store() == ["v1", "v10", "v2"]
        assert (drop.home / "models/code/latest").read_text() == "v10"
        assert drop.imports == 3

    def test_what_appears_later_when_it_has_been_at_rest(self, drop: Drop) -> None:
        assert drop.turns() > 0
        put(drop)
        assert drop.turns() == QUIET
        drop.passes(QUIET - 0.1)
        assert (drop.store(), drop.imports) == ([], 0)
        drop.passes(0.1)
        assert drop.store() == ["v1"]

    def test_while_anything_changes_nothing_is_tried(self, drop: Drop) -> None:
        folder = put(drop)
        (folder / "golden").mkdir()
        drop.turns()
        for number in range(5):
            drop.clock.now += QUIET - 0.1
            (folder / f"golden/{number}").touch()
            drop.turns()
        assert drop.imports == 0
        drop.passes(QUIET)
        assert drop.store() == ["v1"]

    def test_a_copy_with_stops_is_tried_ever_later_and_gets_no_note_before_it_settles(
        self, drop: Drop
    ) -> None:
        def whole(task: Task) -> Measured:
            if (task.folder / task.weights).read_bytes() != data:
                raise ImportRefused("the model cannot be used")
            return Measured(load_seconds=0, peak_bytes=0, resident_bytes=0, onnxruntime="0")

        drop.parts["probe"] = whole
        drop.drop = drop.fresh()
        folder = put(drop)
        data = (folder / "weights.onnx").read_bytes()
        for number, stop in enumerate((QUIET, 2 * QUIET, 4 * QUIET)):
            (folder / "weights.onnx").write_bytes(data[: 50 * (number + 1)])
            drop.turns()
            drop.passes(stop - 0.1)
            assert drop.imports == number
            drop.passes(0.1)
            assert (drop.imports, drop.store(), drop.notes()) == (number + 1, [], [])
        (folder / "weights.onnx").write_bytes(data)
        drop.turns()
        drop.passes(SETTLED)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_what_the_store_has_with_the_same_files_is_left_alone(
        self, drop: Drop, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        stock(drop.home, tmp_path, "code", "v1", 1)
        shutil.copytree(tmp_path / "made/code/v1", drop.folder / "code/v1")
        before = tree(drop.home)
        with caplog.at_level(logging.INFO, "okawari.drop"):
            drop.settles()
        assert (drop.imports, drop.notes(), caplog.messages) == (0, [], [])
        assert tree(drop.home) == before

    def test_what_came_in_once_is_not_brought_back_when_it_is_removed(self, drop: Drop) -> None:
        put(drop)
        drop.settles()
        remove(drop.home, ModelTag("code", "v1"))
        drop.settles()
        assert drop.store() == []

    def test_files_that_change_while_they_are_copied_wait_for_rest(self, drop: Drop) -> None:
        folder = put(drop)

        def change(step: str) -> None:
            if step == "copy" and drop.imports == 1:
                (folder / "weights.onnx").write_bytes(graph(2).SerializeToString())

        drop.on_step = change
        drop.turns()
        drop.passes(QUIET)
        assert (drop.store(), "try" in drop.steps) == ([], False)
        drop.passes(SETTLED)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_memory_does_not_grow_with_looks(self, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        # The runner of the tests keeps what is logged.
        monkeypatch.setattr(logging.getLogger("okawari.drop"), "disabled", True)
        put(drop)
        (drop.folder / "odd name/v1").mkdir(parents=True)
        (drop.folder / "odd name/v1/config.json").touch()
        odd = drop.folder / "odd name"
        folder = put(drop, "v2")
        drop.settles()

        def looks(count: int) -> int:
            nonlocal folder, odd
            for _ in range(count):
                odd = odd.rename(odd.with_name(f"odd {time.monotonic_ns()}"))
                folder = folder.rename(folder.with_name(f"v{time.monotonic_ns()}"))
                drop.turns()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            held = [looks(60) for _ in range(5)]
            # Tables of the interpreter grow now and then, by leaps; what is kept of each look grows always.
            assert min(after - before for before, after in pairwise(held)) < 2_000
        finally:
            tracemalloc.stop()


class TestNotes:
    @pytest.fixture
    def drop(self, tmp_path: Path, home: Path) -> Drop:
        """One whose probe refuses what has code 13."""

        def fussy(task: Task) -> Measured:
            if (task.folder / task.weights).read_bytes() == graph(13).SerializeToString():
                raise ImportRefused("the model cannot be used: it brings bad luck\n\x1b[31m")
            return Measured(load_seconds=0, peak_bytes=0, resident_bytes=0, onnxruntime="0")

        return Drop(tmp_path, home, probe=fussy)

    def test_it_is_written_when_the_version_settled_and_taken_back_when_it_came_in(self, drop: Drop) -> None:
        folder = put(drop, code=13)
        drop.turns()
        drop.passes(QUIET)
        assert (drop.imports, drop.notes()) == (1, [])
        drop.passes(SETTLED - QUIET)
        assert drop.notes() == ["code/v1/IMPORT-FAILED.txt"]
        told = words(folder)
        assert "code:v1 was not imported" in told
        assert "it brings bad luck \\x1b[31m\n" in told
        assert "Mend the files here" in told
        assert "2026-01-02 00:00:00 UTC" in told
        assert (folder / "IMPORT-FAILED.txt").stat().st_mode & 0o777 == 0o644

        (folder / "weights.onnx").write_bytes(graph(1).SerializeToString())
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_what_failed_is_tried_once_as_long_as_nothing_changes(self, drop: Drop) -> None:
        folder = put(drop, code=13)
        drop.settles()
        for _ in range(20):
            drop.passes(100)
        assert drop.imports == 1
        (folder / "README.md").write_text("changed")
        drop.settles()
        assert drop.imports == 2

    def test_a_note_that_another_is_writing_is_no_change(self, drop: Drop) -> None:
        folder = put(drop, code=13)
        drop.settles()
        (folder / ".IMPORT-FAILED.txt.abc").touch()
        drop.settles()
        assert drop.imports == 1

    def test_it_is_no_part_of_the_model_nor_a_change(self, drop: Drop, tmp_path: Path, home: Path) -> None:
        folder = put(drop)
        stamps = (folder / "IMPORT-FAILED.txt", folder / ".IMPORT-FAILED.txt.abc")
        for path in stamps:
            path.write_text("left by another")
        drop.turns()
        stamps[0].write_text("and changed")
        drop.passes(QUIET)
        settled = ModelStore(home / "models").settle(ModelTag("code", "v1"))
        assert isinstance(settled, Artifact)
        manifest = read(settled.path).manifest
        assert manifest is not None
        assert sorted(manifest.files) == ["README.md", "config.json", "weights.onnx"]
        assert not any(path.exists() for path in stamps)

    def test_an_import_by_hand_passes_over_it(self, tmp_path: Path, home: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "IMPORT-FAILED.txt").touch()
        bring(home, folder)
        assert not (home / "models/code/v1/IMPORT-FAILED.txt").exists()

    @pytest.mark.parametrize(
        ("name", "why"), [("config.json", "no config.json"), ("weights.onnx", "no model: put weights.onnx")]
    )
    def test_what_is_not_whole_is_never_tried_and_noted_when_it_settled(
        self, drop: Drop, name: str, why: str
    ) -> None:
        folder = put(drop)
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        drop.turns()
        drop.passes(SETTLED - 0.1)
        assert drop.notes() == []
        drop.passes(0.1)
        assert (drop.imports, drop.store()) == (0, [])
        assert why in words(folder)
        (folder / name).write_bytes(data)
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_the_same_tag_with_other_files_until_the_store_gives_it_free(
        self, drop: Drop, tmp_path: Path
    ) -> None:
        stock(drop.home, tmp_path, "code", "v1", 1)
        folder = put(drop, code=2)
        drop.settles()
        assert "a version never changes" in words(folder)
        assert drop.imports == 1
        remove(drop.home, ModelTag("code", "v1"))
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_it_is_taken_back_when_somebody_else_imported_the_version(
        self, drop: Drop, tmp_path: Path
    ) -> None:
        folder = put(drop, code=13)
        drop.settles()
        bring(drop.home, folder)
        drop.settles()
        assert drop.notes() == []

    def test_one_of_a_former_run_is_taken_back(self, drop: Drop) -> None:
        folder = put(drop, code=13)
        drop.settles()
        (folder / "weights.onnx").write_bytes(graph(1).SerializeToString())
        bring(drop.home, folder)
        drop.drop = drop.fresh()
        drop.settles()
        assert drop.notes() == []

    def test_one_that_cannot_be_written_is_told_once_and_stops_nobody(
        self, drop: Drop, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = put(drop, code=13)
        (folder / "IMPORT-FAILED.txt").mkdir()
        put(drop, "v2")
        drop.settles()
        drop.settles()
        assert len([line for line in caplog.messages if "no note can be written" in line]) == 1
        assert drop.store() == ["v2"]
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []

    def test_what_nobody_foresaw_is_noted_and_stops_nobody(self, drop: Drop) -> None:
        def broken(task: Task) -> Measured:
            if task.version == "v1":
                raise ZeroDivisionError("by zero")
            return Measured(load_seconds=0, peak_bytes=0, resident_bytes=0, onnxruntime="0")

        drop.parts["probe"] = broken
        drop.drop = drop.fresh()
        folder = put(drop)
        put(drop, "v2")
        drop.settles()
        assert drop.store() == ["v2"]
        assert "ZeroDivisionError: by zero" in words(folder)


class TestTrouble:
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
