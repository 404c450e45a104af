"""What is taken for a version in a drop folder, and what is passed over, with the reason in the log."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from manifest.tags import ModelTag
from models_import import subprocesses
from models_import.drop_scan import look
from models_import.exporter import export
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.bentoml_server import BentoML
from tests.models_import.drops import SETTLED, Drop, words
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
        lines = told(drop, caplog)
        assert [line.partition(" ")[0] for line in lines] == [
            f"{drop.folder}/config.json",
            f"{drop.folder}/v7",
        ]
        assert all("/NAME/VERSION" in line for line in lines)

    @pytest.mark.parametrize("place", [".", "code"])
    def test_what_nobody_takes_for_a_version_is_passed_over_in_silence(
        self, drop: Drop, caplog: pytest.LogCaptureFixture, place: str
    ) -> None:
        write_version(drop.folder, ".trash", "v1", 1)
        write_version(drop.folder / "code", ".v1.tmp", "x", 1)
        for folder in ("lost+found", "@eaDir", "$RECYCLE.BIN", "__MACOSX", "v9.part"):
            (drop.folder / place / folder).mkdir()
        files = (
            ".DS_Store",
            "Thumbs.db",
            "desktop.ini",
            "a.onnx.part",
            "b.zip.crdownload",
            "c.onnx~",
            "d.TMP",
        )
        for file in (*files, ".e.onnx.Xa3bQ1", "f.zip.IMPORT-FAILED.txt"):
            (drop.folder / place / file).touch()
        assert told(drop, caplog) == []
        assert drop.imports == 1

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("alone.onnx", "its .onnx with its config.json"),
            ("README.md", "/NAME/VERSION"),
            ("best.pt", "PyTorch"),
            ("code/v2.bentomodel", "an archive that BentoML exported, in"),
            ("code/v2/notes.txt", "no .onnx and no config.json"),
            ("code/v2/saved_model.pb", "TensorFlow"),
            ("code/v2/code-v2/weights.onnx", "its folder code-v2 one up"),
        ],
    )
    def test_what_is_no_version_is_told_once_when_it_has_settled(
        self, drop: Drop, caplog: pytest.LogCaptureFixture, path: str, said: str
    ) -> None:
        (drop.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (drop.folder / path).touch()
        drop.turns()
        drop.passes(SETTLED - 0.1)
        assert [line for line in caplog.messages if "is passed over" in line] == []
        (line,) = told(drop, caplog)
        assert said in line
        drop.settles()
        assert len(told(drop, caplog)) == 1
        assert drop.notes() == []

    @pytest.mark.parametrize("path", ["other", "code/v2"])
    def test_an_empty_folder(self, drop: Drop, caplog: pytest.LogCaptureFixture, path: str) -> None:
        (drop.folder / path).mkdir()
        (line,) = told(drop, caplog)
        assert line.startswith(f"{drop.folder}/{path} ")

    def test_a_pipe_is_never_opened(self, drop: Drop, caplog: pytest.LogCaptureFixture) -> None:
        os.mkfifo(drop.folder / "pipe.zip")
        (line,) = told(drop, caplog)
        assert "neither a file nor a folder" in line

    def test_a_version_beside_a_wrong_one_comes_in(self, drop: Drop) -> None:
        (drop.folder / "code/config.json").touch()
        drop.settles()
        assert drop.store() == ["v1"]

    def test_however_many_there_are_each_is_told(self, drop: Drop, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(150):
            (drop.folder / f"{number}.txt").touch()
        assert len(told(drop, caplog)) == 150


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.process
def test_what_this_user_may_not_read_says_so_and_stops_nobody(place: Path) -> None:
    for version in ("v1", "v2", "v3"):
        write_version(place, "code", version, 1)
    (place / "code/v1").chmod(0o700)
    (place / "code/v2/weights.onnx").chmod(0o600)
    shutil.copytree(place / "code/v3", place / "closed/v1")
    (place / "closed").chmod(0o700)
    sight = as_nobody(look, place)
    lacks = {Path(path).name: each.lacks for path, each in sight.entries.items() if each.possible}
    assert lacks.keys() == {"v1", "v2", "v3"}
    assert f"chmod -R a+rX {place}/code/v1" in lacks["v1"]
    assert lacks["v3"] is None
    closed = sight.entries[str(place / "closed")]
    assert not closed.possible
    assert "chmod -R a+rX" in (closed.lacks or "")


class TestLinks:
    def test_links_that_lead_out_are_not_followed(
        self, drop: Drop, outside: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (drop.folder / "model").symlink_to(outside.parent)
        (drop.folder / "code/v2").symlink_to(outside)
        (drop.folder / "code/v3").symlink_to("v3")
        (drop.folder / "x.zip").symlink_to(outside / "weights.onnx")
        assert len(told(drop, caplog)) == 4
        assert drop.imports == 1
        assert list(outside.glob("*IMPORT*")) == []
        sight = look(drop.folder)
        assert sight is not None
        assert sight.folders == [drop.folder, drop.folder / "code", drop.folder / "code/v1"]

    def test_one_to_a_version_is_no_version_and_told_once_however_it_moves(
        self, drop: Drop, caplog: pytest.LogCaptureFixture
    ) -> None:
        current = drop.folder / "code/current"
        current.symlink_to("v1")
        (drop.folder / "prod").symlink_to("code/v1")
        (drop.folder / "alias").symlink_to("code")
        drop.settles()
        write_version(drop.folder, "code", "v2", 2)
        (drop.folder / "code/.next").symlink_to("v2")
        (drop.folder / "code/.next").rename(current)
        drop.settles()
        assert (drop.store(), drop.store("alias"), drop.notes()) == (["v1", "v2"], [], [])
        lines = [line for line in caplog.messages if "is passed over" in line]
        assert len(lines) == 3
        assert all("okawari pin" in line for line in lines)

    def test_one_to_a_hidden_folder_of_the_watched_one_is_followed(self, drop: Drop) -> None:
        write_version(drop.folder, ".data", "x", 3)
        (drop.folder / "code/v3").symlink_to("../.data/x")
        drop.settles()
        assert drop.store() == ["v1", "v3"]

    def test_a_file_that_leads_out_is_not_read(self, drop: Drop, outside: Path) -> None:
        folder = write_version(drop.folder, "code", "v2", 2)
        (folder / "weights.onnx").unlink()
        (folder / "weights.onnx").symlink_to(outside / "weights.onnx")
        drop.settles()
        assert drop.store() == ["v1"]
        assert "leads out of its folder" in (folder / "IMPORT-FAILED.txt").read_text()
        assert "cp -rL" in (folder / "IMPORT-FAILED.txt").read_text()

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
        monkeypatch.setattr("models_import.drop_scan.MOST_FILES", 5)
        folder = write_version(drop.folder, "code", "v2", 2)
        for number in range(10):
            (folder / f"{number}").touch()
        drop.settles()
        assert drop.store() == ["v1"]
        assert "more than 5 files" in (folder / "IMPORT-FAILED.txt").read_text()


def _tells_holes(path: Path) -> bool:
    with path.open("rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < path.stat().st_size


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("weights.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        ("weights.onnx", b"<!DOCTYPE html><html>", "HTML"),
        ("best.pt", b"\x80\x02.", "PyTorch"),
    ],
)
def test_a_model_that_is_no_onnx_gets_a_note_that_names_it(
    drop: Drop, name: str, data: bytes, said: str
) -> None:
    folder = write_version(drop.folder, "code", "v2", 2)
    (folder / "weights.onnx").unlink()
    (folder / name).write_bytes(data)
    drop.settles()
    assert (drop.store(), drop.notes()) == (["v1"], ["code/v2/IMPORT-FAILED.txt"])
    assert said in words(folder)


def test_what_a_file_manager_leaves_in_a_version_is_no_change_of_it(drop: Drop) -> None:
    drop.settles()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (drop.folder / "code/v1" / name).touch()
    drop.settles()
    assert (drop.imports, drop.notes()) == (1, [])


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.TGZ", "a.tar.bz2", "a.zip", "a.onnx.gz"])
def test_what_is_called_an_archive_is_tried(drop: Drop, name: str) -> None:
    (drop.folder / name).write_bytes(b"<html>")
    drop.settles()
    assert "HTML" in (drop.folder / f"{name}.IMPORT-FAILED.txt").read_text()


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_an_archive_comes_in_too(
    drop: Drop, tmp_path: Path, bentoml: BentoML, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocesses, "run_module", bentoml.run_module)
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
