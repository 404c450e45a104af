"""What is taken for a version in a drop folder, and what is passed over, with the reason in the log."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hotswap.tags import ModelTag
from models_import import child
from models_import.drop_sight import look
from models_import.exporter import export
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.bentoml_server import BentoML
from tests.models_import.drops import Drop
from tests.models_import.shop import stock
from tests.models_import.test_other_user import as_nobody, place

__all__ = ["place"]


@pytest.fixture
def drop(tmp_path: Path, home: Path) -> Drop:
    drop = Drop(tmp_path, home)
    write_version(drop.folder, "code", "v1", 1)
    return drop


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A version that lies elsewhere."""
    return write_version(tmp_path / "outside", "code", "v9", 9)


def told(drop: Drop, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was passed over, after the one good version came in all the same."""
    drop.settles()
    assert drop.store() == ["v1"]
    return [line for line in caplog.messages if "is passed over" in line]


class TestOdd:
    @pytest.mark.parametrize(
        "name",
        ["Bad Name", "a+b", "latest", "x" * 64, "new\nline", "\x1b[31mred", os.fsdecode(b"\xff\xfe"), "-v"],
    )
    def test_names_that_no_version_can_have(
        self, drop: Drop, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        shutil.copytree(drop.folder / "code/v1", drop.folder / "code" / name)
        if name != "latest":
            shutil.copytree(drop.folder / "code/v1", drop.folder / name / "v1")
        lines = told(drop, caplog)
        assert len(lines) == (1 if name == "latest" else 2)
        assert all(line.isprintable() for line in lines)

    def test_a_version_that_lies_too_high(self, drop: Drop, caplog: pytest.LogCaptureFixture) -> None:
        (drop.folder / "config.json").touch()
        write_version(drop.folder.parent, drop.folder.name, "v7", 7)
        (line,) = told(drop, caplog)
        assert "/NAME/VERSION" in line

    def test_what_is_hidden_or_none_is_passed_over_in_silence(
        self, drop: Drop, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_version(drop.folder, ".trash", "v1", 1)
        write_version(drop.folder / "code", ".v1.tmp", "x", 1)
        (drop.folder / "lost+found").mkdir()
        (drop.folder / "code/notes").mkdir()
        (drop.folder / "code/notes/a.txt").touch()
        os.mkfifo(drop.folder / "pipe.zip")
        assert told(drop, caplog) == []
        assert drop.notes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_this_user_may_not_read_says_so_and_stops_nobody(place: Path) -> None:
    for version in ("v1", "v2", "v3"):
        write_version(place, "code", version, 1)
    (place / "code/v1").chmod(0o700)
    (place / "code/v2/weights.onnx").chmod(0o600)
    shutil.copytree(place / "code/v3", place / "closed/v1")
    (place / "closed").chmod(0o700)
    sight = as_nobody(look, place)
    lacks = {Path(path).name: each.lacks for path, each in sight.versions.items()}
    assert lacks.keys() == {"v1", "v2", "v3"}
    assert f"chmod -R a+rX {place}/code/v1" in lacks["v1"]
    assert lacks["v3"] is None
    assert "chmod -R a+rX" in sight.odd[str(place / "closed")]


class TestLinks:
    def test_links_that_lead_out_are_not_followed(
        self, drop: Drop, outside: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (drop.folder / "model").symlink_to(outside.parent)
        (drop.folder / "code/v2").symlink_to(outside)
        (drop.folder / "code/v3").symlink_to("v3")
        (drop.folder / "x.zip").symlink_to(outside / "weights.onnx")
        assert len(told(drop, caplog)) == 3
        assert drop.imports == 1
        assert list(outside.glob("*IMPORT*")) == []
        sight = look(drop.folder)
        assert sight is not None
        assert sight.folders == (drop.folder, drop.folder / "code", drop.folder / "code/v1")

    def test_a_file_that_leads_out_is_not_read(self, drop: Drop, outside: Path) -> None:
        folder = write_version(drop.folder, "code", "v2", 2)
        (folder / "weights.onnx").unlink()
        (folder / "weights.onnx").symlink_to(outside / "weights.onnx")
        drop.settles()
        assert drop.store() == ["v1"]
        assert "leads out of its folder" in (folder / "IMPORT-FAILED.txt").read_text()

    def test_a_folder_that_becomes_a_link_during_its_import(self, drop: Drop, outside: Path) -> None:
        folder = drop.folder / "code/v1"

        def swap(step: str) -> None:
            if step == "open":
                folder.rename(drop.folder.parent / "kept")
                folder.symlink_to(outside)

        drop.on_step = swap
        drop.settles()
        assert drop.imports == 1
        assert (drop.store(), list(outside.glob("*IMPORT*"))) == ([], [])


class TestNotWhole:
    @pytest.mark.parametrize("name", ["README.md.part", "golden/a.png.filepart", "x.crdownload"])
    def test_a_file_that_is_being_copied_by_its_name(self, drop: Drop, name: str) -> None:
        folder = write_version(drop.folder, "code", "v2", 2)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        drop.settles()
        assert drop.store() == ["v1"]
        assert name in (folder / "IMPORT-FAILED.txt").read_text()
        (folder / name).unlink()
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1", "v2"], [])

    def test_a_file_whose_size_was_set_before_its_bytes(self, drop: Drop) -> None:
        folder = write_version(drop.folder, "code", "v2", 2)
        with (folder / "weights.onnx.data").open("wb") as file:
            file.write(b"begun")
            file.truncate(1_000_000)
        if not _tells_holes(folder / "weights.onnx.data"):
            pytest.skip("a file system that does not tell of holes")
        drop.settles()
        assert drop.store() == ["v1"]
        assert (
            "last bytes of weights.onnx.data were never written" in (folder / "IMPORT-FAILED.txt").read_text()
        )
        (folder / "weights.onnx.data").write_bytes(bytes(1_000_000))
        drop.settles()
        assert (drop.store(), drop.notes()) == (["v1", "v2"], [])

    def test_more_files_than_any_model_has(self, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("models_import.drop_sight._MOST_FILES", 5)
        folder = write_version(drop.folder, "code", "v2", 2)
        for number in range(10):
            (folder / f"{number}").touch()
        drop.settles()
        assert drop.store() == ["v1"]
        assert "more than 5 files" in (folder / "IMPORT-FAILED.txt").read_text()


def _tells_holes(path: Path) -> bool:
    with path.open("rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < path.stat().st_size


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_an_archive_comes_in_too(
    drop: Drop, tmp_path: Path, bentoml: BentoML, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "run_module", bentoml.run_module)
    stock(tmp_path / "other", tmp_path, "code", "v5", 5)
    archive = export(ModelStore(tmp_path / "other/models"), ModelTag("code", "v5"), tmp_path / "a.bentomodel")
    data = archive.read_bytes()
    (drop.folder / "a.bentomodel").write_bytes(data[: len(data) // 2])
    drop.settles()
    assert drop.store() == ["v1"]
    assert drop.notes() == ["a.bentomodel.IMPORT-FAILED.txt"]
    (drop.folder / "a.bentomodel").write_bytes(data)
    drop.settles()
    assert (drop.store(), drop.notes()) == (["v1", "v5"], [])
