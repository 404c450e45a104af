"""`import --configured`: the model that the configuration names comes in once, and anew when it changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.builders import write_version
from tests.cli.conftest import Okawari


@pytest.fixture
def config_file(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of `OKAWARI_CONFIG`."""
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("OKAWARI_CONFIG", str(path))
    return path


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return write_version(tmp_path / "tree", "code", "1", 1)


def _name_model(file: Path, **keys: object) -> None:
    file.write_text("model:\n" + "".join(f"  {name}: {value}\n" for name, value in keys.items()))


def test_a_folder_of_a_version_comes_in_once(okawari: Okawari, config_file: Path, version: Path) -> None:
    _name_model(config_file, checkpoint_path=version)
    assert okawari("import", "--configured").stdout.startswith("imported code:v1")
    assert okawari("import", "--configured").stdout.startswith("unchanged code:v1")


def test_a_single_file_is_another_version_when_it_is_another_file(
    okawari: Okawari, config_file: Path, version: Path, tmp_path: Path
) -> None:
    graph = shutil.copy(version / "weights.onnx", tmp_path / "bird.onnx")
    _name_model(config_file, name="bird", checkpoint_path=graph, config_path=version / "config.json")
    first = okawari("import", "--configured").stdout.split()
    assert first[:1] == ["imported"]
    assert first[1].startswith("bird:sha")
    assert okawari("import", "--configured").stdout.split()[:2] == ["unchanged", first[1]]
    other = write_version(tmp_path / "tree", "code", "2", 2)
    shutil.copy(other / "weights.onnx", tmp_path / "bird.onnx")
    second = okawari("import", "--configured").stdout.split()
    assert second[0] == "imported"
    assert second[1] != first[1]


def test_without_a_path_nothing_is_imported(okawari: Okawari, config_file: Path) -> None:
    config_file.write_text("")
    assert okawari("import", "--configured").stdout == ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"checkpoint_path": "/nowhere/a.onnx"}, "model.checkpoint_path: there is nothing at /nowhere"),
        ({"checkpoint_path": "bird.onnx"}, "add model.name"),
        ({"checkpoint_path": "bird.onnx", "name": "bird"}, "add model.name, and model.config_path"),
        ({"checkpoint_path": "bird.onnx", "config_path": "no.json"}, "model.config_path: there is nothing"),
        ({"checkpoint_path": "empty"}, "contains no version"),
        ({"checkpoint_path": "bird.pth"}, "PyTorch checkpoint"),
    ],
)
def test_what_cannot_be_imported_is_named(
    okawari: Okawari, config_file: Path, tmp_path: Path, keys: dict[str, object], said: str
) -> None:
    (tmp_path / "bird.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    _name_model(config_file, **keys)
    assert said in okawari("import", "--configured", exit_code=1).stderr


def test_it_stands_alone(okawari: Okawari, version: Path) -> None:
    okawari("import", "--configured", version, exit_code=2)
