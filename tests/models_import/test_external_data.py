"""A graph's data files come in with it, from its folder and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx.external_data_helper import set_external_data

from hotswap.repository import Artifact
from models_import.candidates import Wanted
from models_import.errors import ImportRefused
from models_import.probe import probe
from models_import.store import ModelStore
from tests.builders import graph, write_version
from tests.models_import.shop import bring


def split(folder: Path, *locations: str) -> Path:
    """Write `x.onnx` that reads its first weights from these files, and `config.json` beside it."""
    made = write_version(folder, "made", "v1", 1)
    model = graph(1)
    for tensor, location in zip(model.graph.initializer, locations, strict=False):
        data = onnx.numpy_helper.to_array(tensor).tobytes()
        if not Path(location).is_absolute() and ".." not in location:
            (made / location).parent.mkdir(parents=True, exist_ok=True)
            (made / location).write_bytes(data)
        tensor.raw_data = data
        set_external_data(tensor, location, offset=0, length=len(data))
        tensor.ClearField("raw_data")
    (made / "weights.onnx").unlink()
    (made / "x.onnx").write_bytes(model.SerializeToString())
    return made


def wanted(folder: Path) -> Wanted:
    return Wanted("code", "v1", folder / "config.json")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("locations", [["x.onnx.data"], ["weights.pb", "sub/more.bin"], ["./x.data"]])
@pytest.mark.process
def test_they_come_in_with_one_onnx(
    home: Path, tmp_path: Path, store: ModelStore, locations: list[str]
) -> None:
    folder = split(tmp_path, *locations)
    (folder / "unnamed.data").touch()
    done = bring(home, folder / "x.onnx", wanted(folder), probe=probe)
    settled = store.settle(done.tag)
    assert isinstance(settled, Artifact)
    found = {str(path.relative_to(settled.path)) for path in settled.path.rglob("*") if path.is_file()}
    names = {location.removeprefix("./") for location in locations}
    assert found == {"weights.onnx", "config.json", "model.yaml"} | names


@pytest.mark.parametrize("as_folder", [False, True])
def test_one_that_is_missing_is_named(home: Path, tmp_path: Path, as_folder: bool) -> None:
    folder = split(tmp_path, "x.onnx.data")
    (folder / "x.onnx.data").unlink()
    with pytest.raises(ImportRefused) as refused:
        bring(home, folder if as_folder else folder / "x.onnx", wanted(folder))
    assert f"{folder}/x.onnx.data is missing" in str(refused.value)
    assert "import a folder with both" in str(refused.value)
    assert "staging" not in str(refused.value)


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("location", ["../out.data", "/etc/passwd", "sub/../../out.data"])
def test_one_outside_is_refused(home: Path, tmp_path: Path, location: str, as_folder: bool) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/out.data").write_bytes(bytes(100))
    folder = split(tmp_path, location)
    with pytest.raises(ImportRefused, match="outside its own folder"):
        bring(home, folder if as_folder else folder / "x.onnx", wanted(folder))


def test_a_link_out_beside_one_onnx_is_refused(home: Path, tmp_path: Path) -> None:
    folder = split(tmp_path, "x.data")
    (folder / "x.data").rename(tmp_path / "elsewhere")
    (folder / "x.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImportRefused, match=r"leads out of its folder.*cp -L"):
        bring(home, folder / "x.onnx", wanted(folder))
    assert bring(home, folder, wanted(folder)).outcome == "imported"


def test_beside_what_a_linked_graph_leads_to(home: Path, tmp_path: Path) -> None:
    folder, snapshot = split(tmp_path, "x.data"), tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "x.onnx").symlink_to(folder / "x.onnx")
    bring(home, snapshot / "x.onnx", wanted(folder))
    assert (home / "models/code/v1/x.data").is_file()
    (folder / "x.data").rename(folder / "blob")
    (snapshot / "x.data").symlink_to(folder / "blob")
    assert bring(home, snapshot / "x.onnx", wanted(folder)).outcome == "unchanged"


@pytest.mark.parametrize("name", ["config.json", "weights.onnx", "model.yaml"])
def test_one_whose_name_is_taken_in_a_version(home: Path, tmp_path: Path, name: str) -> None:
    folder = split(tmp_path, name)
    config = tmp_path / "c.json"
    config.write_bytes(write_version(tmp_path, "other", "v1", 1).joinpath("config.json").read_bytes())
    with pytest.raises(ImportRefused, match="another name"):
        bring(home, folder / "x.onnx", Wanted("code", "v1", config))


def test_one_that_git_lfs_has_not_fetched(home: Path, tmp_path: Path) -> None:
    folder = split(tmp_path, "x.data")
    (folder / "x.data").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ImportRefused, match=r"x\.data, which is a Git LFS pointer"):
        bring(home, folder / "x.onnx", wanted(folder))
