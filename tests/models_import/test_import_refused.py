"""What is refused, and that a refusal changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifest.version_manifest import Measured
from models_import.candidates import Wanted
from models_import.errors import ImportRefused
from models_import.probe import Task
from tests.builders import write_version
from tests.models_import.shop import bring, stock, tree


class TestRefused:
    """What is refused leaves no trace in the store."""

    @pytest.fixture(autouse=True)
    def _store_stays_as_it_was(self, home: Path, tmp_path: Path) -> object:
        stock(home, tmp_path / "first", "code", "v0", 1)
        before = tree(home / "models")
        yield
        assert tree(home / "models") == before
        assert [path.name for path in (home / "staging").iterdir()] == ["import.lock"]

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"family": "yolo"}, "family"),
            ({"task": "segmentation"}, "task"),
            ({"input": {"width": 0, "height": 32}}, "input.width"),
            ({"nonsense": 1}, "nonsense"),
            ({"created": "2026-01-01T00:00:00"}, "created"),
        ],
    )
    def test_a_wrong_config_by_field(
        self, home: Path, tmp_path: Path, config: dict[str, object], said: str
    ) -> None:
        with pytest.raises(ImportRefused, match=said):
            bring(home, write_version(tmp_path, "code", "v1", 1, config=config))

    def test_no_config(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "config.json").unlink()
        with pytest.raises(ImportRefused, match="preprocessing is never guessed"):
            bring(home, folder)

    def test_no_model_or_two(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        data = (folder / "weights.onnx").read_bytes()
        (folder / "weights.onnx").unlink()
        with pytest.raises(ImportRefused, match=r"no model: put weights\.onnx"):
            bring(home, folder)
        for name in ("a.onnx", "b.onnx"):
            (folder / name).write_bytes(data)
        with pytest.raises(ImportRefused, match=r"2 \.onnx files"):
            bring(home, folder)

    @pytest.mark.parametrize("name", ["a b", "..", "ä", "x" * 64, "-a"])
    def test_a_name_that_can_be_no_tag(self, home: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(ImportRefused, match="allowed are at most 63"):
            bring(home, write_version(tmp_path, "code", "v1", 1), Wanted(name=name))

    def test_a_version_called_latest(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="a target, not a version"):
            bring(home, write_version(tmp_path, "code", "latest", 1))

    def test_a_link_within_the_folder_is_followed(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path / "other", "linked", "v1", 1)
        (folder / "NOTES.md").symlink_to("README.md")
        other = tmp_path / "home-of-its-own"
        bring(other, folder)
        assert not (other / "models/linked/v1/NOTES.md").is_symlink()

    def test_too_little_space(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match=r"needs 11 MB.*, but 5 MB are free"):
            bring(home, write_version(tmp_path, "code", "v1", 1), free_bytes=lambda: 5_000_000)

    def test_staging_on_another_disk(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = Path("/dev/shm")
        if not other.is_dir() or other.stat().st_dev == home.stat().st_dev:
            pytest.skip("there is no second file system")
        elsewhere = other / f"okawari-{os.getpid()}"
        elsewhere.mkdir()
        (home / "staging").rename(home / "kept")
        (home / "staging").symlink_to(elsewhere)
        try:
            with pytest.raises(ImportRefused, match="mount the whole home as one"):
                bring(home, write_version(tmp_path, "code", "v1", 1))
        finally:
            (home / "staging").unlink()
            (home / "kept").rename(home / "staging")
            elsewhere.rmdir()

    def test_what_the_probe_refuses(self, home: Path, tmp_path: Path) -> None:
        def refuse(task: Task) -> Measured:
            raise ImportRefused("it is no good")

        with pytest.raises(ImportRefused, match="code/v1: it is no good"):
            bring(home, write_version(tmp_path, "code", "v1", 1), probe=refuse)

    def test_a_file_that_vanishes_meanwhile(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)

        def at(step: str) -> None:
            if step == "copy":
                (folder / "weights.onnx").unlink()

        with pytest.raises(ImportRefused, match=r"weights\.onnx: No such file"):
            bring(home, folder, at=at)
