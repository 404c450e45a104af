"""What cannot come in from a drop folder says why in a note, until it is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from models_import.errors import ImportRefused
from models_import.model_yaml import read
from models_import.probe import Task
from models_import.remover import remove
from models_import.store import ModelStore
from tests.builders import graph, write_version
from tests.models_import.drops import QUIET, SETTLED, Drop, put, words
from tests.models_import.shop import bring, stock


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
        assert "Repair the files here" in told
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
        assert "versions are immutable" in words(folder)
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
