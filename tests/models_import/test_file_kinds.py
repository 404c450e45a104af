"""What is no ONNX model is named for what it is, by its bytes before its name, and nothing is opened."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from models_import.candidates import Wanted, candidates
from models_import.errors import ImportRefused
from models_import.file_kinds import by_bytes, kind_of
from tests.builders import graph, write_version
from tests.models_import.shop import bring

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 3845632\n"


def zip_of(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return made.getvalue()


def tar_of(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()


BYTES = [
    (LFS, "git lfs pull"),
    (b"\xef\xbb\xbf" + LFS.replace(b"\n", b"\r\n"), "git lfs pull"),
    (b"/annex/objects/SHA256E-s1--00.onnx\n", "git annex get"),
    (b"outs:\n- md5: 00\n  path: weights.onnx\n", "dvc pull"),
    (b"\n<!DOCTYPE html>\n<html>", "HTML"),
    (b'<?xml version="1.0"?><!-- a --><html xmlns="x">', "HTML"),
    (b'{"error": "Entry not found"}', 'JSON that begins \'{"error": "Entry not found"}\''),
    (b"Not Found", "text that begins 'Not Found'"),
    (b"", "empty"),
    (zip_of("best/data.pkl", "best/data/0"), "PyTorch"),
    (zip_of("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "TorchScript"),
    (zip_of("m/archive_format", "m/models/model.json"), "torch.export"),
    (zip_of("metadata.json", "config.json", "model.weights.h5"), "Keras"),
    (zip_of("arr_0.npy"), "NumPy"),
    (zip_of("det/weights.onnx", "det/config.json"), "a zip with an .onnx"),
    (zip_of("a.txt"), "a zip that was not exported by BentoML"),
    (pickle.dumps({"a": 1}, protocol=2), "pickle"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch"),
    (b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras"),
    (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite"),
    (b"ftrt" + bytes(50), "TensorRT"),
    ((30).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(40), "safetensors"),
    (b'<?xml version="1.0"?>\n<net name="a" version="11">', "OpenVINO"),
    (b"7767517\n75 83\nInput", "NCNN"),
    (gzip.compress(b"a"), "gzip"),
    (bz2.compress(b"a"), "bzip2"),
    (lzma.compress(b"a"), "xz"),
    (tar_of("a"), "tar"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7-Zip"),
]


@pytest.mark.parametrize(("data", "said"), BYTES)
def test_by_its_bytes_whatever_it_is_called(home: Path, tmp_path: Path, data: bytes, said: str) -> None:
    folder = write_version(tmp_path, "code", "v1", 1)
    (folder / "weights.onnx").write_bytes(data)
    with pytest.raises(ImportRefused) as refused:
        bring(home, folder)
    assert said in str(refused.value)
    assert "weights.onnx is " in str(refused.value)
    assert "not an ONNX model, but " in str(refused.value)
    with pytest.raises(ImportRefused) as refused:
        bring(home, folder / "weights.onnx", Wanted("m", "v1", folder / "config.json"))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("best.pt", "yolo export format=onnx"),
        ("BEST.PTH", "torch.onnx.export"),
        ("m.engine", "TensorRT"),
        ("m.plan", "TensorRT"),
        ("m.mlmodel", "Core ML"),
        ("saved_model.pb", "tf2onnx"),
        ("m.pdmodel", "paddle2onnx"),
        ("m.bin", "weights file without a graph"),
        ("m.mnn", "MNN"),
        ("model", "the name of a model ends with .onnx"),
    ],
)
def test_by_its_name_where_its_bytes_do_not_tell(home: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(bytes(100))
    with pytest.raises(ImportRefused) as refused:
        bring(home, tmp_path / name)
    assert said in str(refused.value)
    assert "onnx" in str(refused.value).replace(str(tmp_path), "").lower()


def test_its_bytes_count_before_its_name(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(LFS)
    assert "Git LFS" in kind_of(tmp_path / "best.pt").what
    (tmp_path / "best.pt").write_bytes(zip_of("best/data.pkl")[:-30])
    assert "PyTorch" in kind_of(tmp_path / "best.pt").what


def test_an_onnx_that_was_packed_by_itself(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.gz").write_bytes(gzip.compress(b"a"))
    assert not kind_of(tmp_path / "m.onnx.gz").archive
    assert "unpack" in kind_of(tmp_path / "m.onnx.gz").fix


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", [b"<!---->", b" ", b"<?xml?>", b"../", b"outs:"])
def test_bytes_that_are_made_to_take_long_do_not(tmp_path: Path, piece: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(piece * 4000)
    assert by_bytes(tmp_path / "m.onnx")


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "best.pt").write_bytes(pickle.dumps(Trap()))
    assert kind_of(tmp_path / "best.pt")
    assert not (tmp_path / "sprung").exists()


def test_an_onnx_model_is_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(graph(1).SerializeToString())
    assert by_bytes(tmp_path / "m") is None


@pytest.mark.parametrize("name", ["WEIGHTS.ONNX", "model.Onnx"])
def test_its_name_may_have_capitals(home: Path, tmp_path: Path, name: str) -> None:
    folder = write_version(tmp_path, "code", "v1", 1)
    (folder / "weights.onnx").rename(folder / name)
    assert str(bring(home, folder).tag) == "code:v1"
    assert str(bring(home, folder / name, Wanted("m", "v1", folder / "config.json")).tag) == "m:v1"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["saved_model.pb", "variables/variables.index"], "TensorFlow"),
        (["model.xml", "model.bin"], "without a graph"),
        (["config.json", "model.safetensors"], "safetensors"),
        (["config.json", "best.pt"], "PyTorch"),
        (["m.param", "m.bin"], "NCNN"),
    ],
)
def test_a_folder_that_holds_another_model(home: Path, tmp_path: Path, files: list[str], said: str) -> None:
    for file in files:
        (tmp_path / "det/v1" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "det/v1" / file).write_bytes(b"{}")
    with pytest.raises(ImportRefused, match=said):
        bring(home, tmp_path / "det/v1")


def test_a_folder_that_is_another_model(tmp_path: Path) -> None:
    (tmp_path / "m.mlpackage/Data").mkdir(parents=True)
    with pytest.raises(ImportRefused, match="Core ML"):
        candidates(tmp_path / "m.mlpackage", Wanted())
