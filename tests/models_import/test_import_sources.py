"""What comes in: a folder, a tree of folders, one file; and what is said where something lacks."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import import importer as importer_module
from models_import.candidates import Wanted, candidates
from models_import.errors import ImportRefused
from models_import.model_yaml import read
from models_import.probe import Task
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import bring, day, importer, latest, not_tried, stock


class TestWhatComesIn:
    def test_a_folder(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        done = bring(home, write_version(tmp_path, "code", "v7", 1))
        settled = store.settle(ModelTag("code", "v7"))
        assert isinstance(settled, Artifact)
        assert (done.outcome, done.digest, done.latest) == ("imported", settled.digest, "v7")
        assert settled.measured == not_tried(Task.model_construct())
        assert sorted(path.name for path in settled.path.iterdir()) == [
            "README.md",
            "config.json",
            "model.yaml",
            "weights.onnx",
        ]

    def test_a_config_above_one_megabyte_is_not_read(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "config.json").write_text(" " * 1_000_001)
        with pytest.raises(ImportRefused, match=r"config\.json is larger than"):
            bring(home, folder)

    def test_more_files_than_a_readable_model_yaml_names(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importer_module, "LARGEST", 500)
        with pytest.raises(
            ImportRefused, match=r"its 3 files need a model\.yaml of more than the allowed 500 bytes"
        ):
            bring(home, write_version(tmp_path, "code", "v1", 1))

    def test_a_file_whose_name_is_no_text(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / os.fsdecode(b"\xff")).touch()
        with pytest.raises(ImportRefused, match="must be UTF-8"):
            bring(home, folder)

    @pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"])
    def test_a_moment_at_the_limits_of_time(self, home: Path, tmp_path: Path, created: str) -> None:
        folder = write_version(tmp_path, "code", "v1", 1, config={"created": created})
        with pytest.raises(ImportRefused, match=r"config\.json: created: .* years 1 to 9999"):
            bring(home, folder)

    def test_a_folder_with_golden_pictures(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        golden = [{"file": "golden/a.png"}]
        folder = write_version(tmp_path, "code", "v1", 1, config={"golden": golden})
        with pytest.raises(ImportRefused, match=r"golden/a\.png is not in the version's folder"):
            bring(home, folder)
        (folder / "golden").mkdir()
        (folder / "golden/a.png").write_bytes(b"picture")
        bring(home, folder)
        assert (home / "models/code/v1/golden/a.png").read_bytes() == b"picture"
        assert isinstance(store.settle(ModelTag("code", "v1")), Artifact)

    def test_the_only_onnx_file_whatever_its_name(
        self, home: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "weights.onnx").rename(folder / "best.onnx")
        bring(home, folder)
        settled = store.settle(ModelTag("code", "v1"))
        assert isinstance(settled, Artifact)
        assert settled.weights.name == "best.onnx"

    def test_a_tree_in_natural_order_where_an_integer_is_a_version(self, tmp_path: Path) -> None:
        for version in ("10", "2", "v1", "V3"):
            write_version(tmp_path / "tree", "code", version, 1)
        write_version(tmp_path / "tree", "another", "1", 1)
        (tmp_path / "tree/code/notes").mkdir()
        (tmp_path / "tree/.git/objects").mkdir(parents=True)
        (tmp_path / "tree/README.md").touch()
        found = candidates(tmp_path / "tree", Wanted())
        home = tmp_path / "home"
        tags = [str(importer(home).run(candidate).tag) for candidate in found]
        assert tags == ["another:v1", "code:v1", "code:v2", "code:v3", "code:v10"]
        assert latest(home) == "v10"

    def test_a_models_folder_alone(self, tmp_path: Path) -> None:
        for version in ("v2", "v1"):
            write_version(tmp_path, "code", version, 1)
        found = candidates(tmp_path / "code", Wanted())
        assert [candidate.path.name for candidate in found] == ["v1", "v2"]
        assert not any(candidate.named for candidate in found)

    def test_a_tree_without_versions_is_empty(self, tmp_path: Path) -> None:
        (tmp_path / "tree/some/thing").mkdir(parents=True)
        assert candidates(tmp_path / "tree", Wanted()) == []

    def test_one_onnx_file_with_its_config(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        folder = write_version(tmp_path, "x", "y", 5)
        (folder / "weights.onnx").rename(tmp_path / "run7.onnx")
        wanted = Wanted("code", "7", folder / "config.json")
        assert str(bring(home, tmp_path / "run7.onnx", wanted).tag) == "code:v7"
        assert isinstance(store.settle(ModelTag("code", "v7")), Artifact)

    @pytest.mark.parametrize(
        "wanted", [Wanted(), Wanted("code", "v1"), Wanted("code", None, Path("/dev/null"))]
    )
    def test_one_onnx_file_without_them(self, home: Path, tmp_path: Path, wanted: Wanted) -> None:
        weights = write_version(tmp_path, "code", "v1", 5) / "weights.onnx"
        with pytest.raises(ImportRefused, match="--config FILE, --name NAME and --version V"):
            bring(home, weights, wanted)

    def test_name_version_and_config_can_be_said(self, home: Path, tmp_path: Path) -> None:
        other = write_version(tmp_path, "other", "v1", 5, config={"description": "said"}) / "config.json"
        done = bring(home, write_version(tmp_path, "code", "v1", 5), Wanted("Said", "9", other))
        assert str(done.tag) == "said:v9"
        assert "said" in (home / "models/said/v9/config.json").read_text()

    def test_hidden_files_are_left_behind(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / ".DS_Store").touch()
        (folder / ".git").mkdir()
        (folder / ".git/HEAD").touch()
        bring(home, folder)
        assert not list((home / "models").rglob(".*"))


def test_model_yaml_is_the_one_that_bentoml_writes(home: Path, tmp_path: Path) -> None:
    stock(home, tmp_path, "code", "v1", created=day(1))
    document = dict(read(home / "models/code/v1").document)
    assert list(document) == [
        "name",
        "version",
        "module",
        "labels",
        "options",
        "metadata",
        "context",
        "signatures",
        "api_version",
        "creation_time",
    ]
    assert datetime.fromisoformat(document["creation_time"]) == day(1)
