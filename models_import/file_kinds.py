"""Recognises files that are not ONNX models, by their bytes or else their name, and says what to do.

Only the first bytes and a zip's table of contents are read: nothing is unpacked or unpickled.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from common.text import plain
from manifest.version_manifest import BadManifest
from models_import.small_files import read_start

_HEAD = 4096
#: The last bytes of a zip, which contain the names of all members of BentoML's exports.
_TAIL = 1_000_000

ONNX = ".onnx"
#: Endings of archives that BentoML exports.
ARCHIVES = (".bentomodel", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zip")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, and how to get a model from it. `archive` is BentoML's name of the packing, if the
    file may be an export of BentoML."""

    what: str
    fix: str
    archive: str = ""

    def sentence(self, name: str, verb: str = "is") -> str:
        """A sentence on the file `name`: what it is, and what to do."""
        return f"{plain(name, 200)} {verb} not an ONNX model, but {self.what}: {self.fix}"


@dataclass(frozen=True, slots=True)
class _Bytes:
    head: bytes
    size: int
    #: The names of a zip's members.
    names: tuple[str, ...]


_Test = Callable[[_Bytes], bool]


def _at(place: int, *magics: bytes) -> _Test:
    return lambda data: any(data.head[place : place + len(magic)] == magic for magic in magics)


def _zip_of(*ends: str) -> _Test:
    """A zip with a member whose path has one of these endings."""
    return lambda data: any(name.endswith(ends) for name in data.names)


def _text(pattern: bytes) -> _Test:
    """Text that begins with the pattern, after white space and a byte order mark."""
    # No backtracking (`*+`, `(?>`): crafted bytes could take exponential time.
    compiled = re.compile(rb"(?:\xef\xbb\xbf)?\s*+(?:" + pattern + rb")", re.IGNORECASE | re.DOTALL)
    return lambda data: compiled.match(data.head) is not None


def _is_safetensors(data: _Bytes) -> bool:
    return data.head[8:9] == b"{" and int.from_bytes(data.head[:8], "little") + 8 <= data.size


def _exported_by(command: str) -> str:
    return f"export it to ONNX ({command}) and import the .onnx"


_FETCH = "download the file again and check the server's answer"
_UNPACK = "unpack it and import its content"
_TORCH = Kind(
    "a PyTorch model (a pickle, which is never opened)",
    _exported_by("`yolo export format=onnx`, or `torch.onnx.export`"),
)
_TORCHSCRIPT = Kind("a TorchScript model", _exported_by("`torch.onnx.export` on its source model"))
_TORCH_PROGRAM = Kind("a program of torch.export", _exported_by("`torch.onnx.export(program)`"))
_PICKLE = Kind("a Python pickle, which is never opened", _exported_by("from the program that made it"))
_KERAS = Kind("a Keras model", _exported_by("`model.export(path, format='onnx')`, or tf2onnx"))
_TENSORFLOW = Kind("a TensorFlow graph", _exported_by("`python -m tf2onnx.convert`"))
_TFLITE = Kind("a TensorFlow Lite model", _exported_by("`python -m tf2onnx.convert --tflite`"))
_TENSORRT = Kind(
    "a TensorRT engine, which runs on the GPU it was built for",
    _exported_by("from the engine's source model"),
)
_SAFETENSORS = Kind(
    "a safetensors file (weights without a graph)",
    _exported_by("`torch.onnx.export`, or `optimum-cli export onnx`"),
)
_SOURCE = _exported_by("from its source model")
_OPENVINO = Kind("an OpenVINO model", _SOURCE)
_COREML = Kind("a Core ML model", _SOURCE)
_NCNN = Kind("an NCNN model", _SOURCE)
_PADDLE = Kind("a Paddle model", _exported_by("`paddle2onnx`"))
_NUMPY = Kind("a NumPy array", _exported_by("from the program that made it"))

LFS = Kind("a Git LFS pointer", "run `git lfs pull` in the clone")
ANNEX = Kind("a git-annex pointer", "run `git annex get` in the clone")
HTML = Kind("a web page (HTML)", f"the URL may be that of a page about the file: {_FETCH}")
EMPTY = Kind("an empty file (0 bytes)", "copy it again")
#: Files that may take the place of any large file.
POINTERS = (LFS, ANNEX, HTML, EMPTY)


def _packed(how: str) -> Kind:
    return Kind(f"packed with {how}", _UNPACK)


#: The first match counts. ONNX has no magic bytes, but none of these can begin an ONNX file.
_BY_BYTES: tuple[tuple[_Test, Kind], ...] = (
    (lambda data: data.size == 0, EMPTY),
    (_text(rb"version https?://\S*(?:git-lfs|git-media|hawser)"), LFS),
    (_text(rb"(?:\.\./)*(?:\.git)?/annex/objects/"), ANNEX),
    (
        _text(rb"(?:md5|outs|wdir)\s*:.*?\bmd5\s*:"),
        Kind("a DVC pointer", "run `dvc pull` and import the downloaded file"),
    ),
    (_text(rb"(?:<\?xml[^>]*+>|<!--(?>.*?-->)|\s)*+<(?:!doctype\s+html|html|head|body)\b"), HTML),
    (_text(rb"(?:<\?xml[^>]*+>\s*+)?<net\b"), _OPENVINO),
    (_text(rb"7767517\s"), _NCNN),
    (_at(4, b"TFL3"), _TFLITE),
    (_at(4, b"ORTM"), Kind("a model in onnxruntime's own format", "import its source .onnx")),
    (_at(0, b"\x89HDF\r\n\x1a\n"), _KERAS),
    (_at(0, b"ftrt", b"ptrt"), _TENSORRT),
    (_at(0, b"RKNN"), Kind("a model for Rockchip's processors", _SOURCE)),
    (_at(0, b"\x93NUMPY"), _NUMPY),
    (_zip_of("model.yaml"), Kind("a zip", _UNPACK, archive="zip")),
    (_zip_of("serialized_exported_program.json", "archive_format"), _TORCH_PROGRAM),
    (_zip_of("constants.pkl"), _TORCHSCRIPT),
    (_zip_of("data.pkl"), _TORCH),
    (_zip_of("model.weights.h5"), _KERAS),
    (_zip_of(ONNX), Kind("a zip with an .onnx that was not exported by BentoML", _UNPACK)),
    (_zip_of(".npy"), _NUMPY),
    (_zip_of(""), Kind("a zip that was not exported by BentoML", _UNPACK)),
    (
        _at(0, b"PK\x03\x04", b"PK\x05\x06"),
        Kind("a truncated or damaged zip", "copy it again", archive="zip"),
    ),
    (_at(0, b"\x80\x02\x8a\x0al\xfc\x9cF"), _TORCH),
    (_at(0, b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), _PICKLE),
    (_at(0, b"\x1f\x8b"), Kind("packed with gzip", _UNPACK, archive="gz")),
    (_at(0, b"\xfd7zXZ\0"), Kind("packed with xz", _UNPACK, archive="xz")),
    (_at(0, b"BZh"), Kind("packed with bzip2", _UNPACK, archive="bz2")),
    (_at(257, b"ustar"), Kind("a tar archive", _UNPACK, archive="tar")),
    (_at(0, b"\x28\xb5\x2f\xfd"), _packed("zstd")),
    (_at(0, b"7z\xbc\xaf\x27\x1c"), _packed("7-Zip")),
    (_at(0, b"Rar!"), _packed("RAR")),
    (_is_safetensors, _SAFETENSORS),
)

_BY_NAME: dict[str, Kind] = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _TORCH),
    **dict.fromkeys((".torchscript", ".ptl"), _TORCHSCRIPT),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _PICKLE),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), _KERAS),
    **dict.fromkeys((".engine", ".plan", ".trt"), _TENSORRT),
    **dict.fromkeys((".mlmodel", ".mlpackage", ".mlmodelc"), _COREML),
    **dict.fromkeys((".param", ".ncnn"), _NCNN),
    **dict.fromkeys((".pdmodel", ".pdiparams", ".pdparams"), _PADDLE),
    **dict.fromkeys((".npy", ".npz"), _NUMPY),
    ".pt2": _TORCH_PROGRAM,
    ".tflite": _TFLITE,
    ".pb": _TENSORFLOW,
    ".safetensors": _SAFETENSORS,
    ".xml": _OPENVINO,
    ".bin": Kind("a weights file without a graph (OpenVINO, NCNN, PyTorch)", _SOURCE),
    ".caffemodel": Kind("a Caffe model", _SOURCE),
    ".weights": Kind("a Darknet model", _SOURCE),
    ".mnn": Kind("an MNN model", _SOURCE),
    ".rknn": Kind("a model for Rockchip's processors", _SOURCE),
    ".dvc": Kind("a DVC pointer", "run `dvc pull` and import the downloaded file"),
}


def is_onnx(name: str) -> bool:
    """Whether a file name has the ending of an ONNX model."""
    return name.lower().endswith(ONNX)


def by_bytes(path: Path) -> Kind | None:
    """The kind of a file by its bytes; None if it may be an ONNX model. Raises `OSError`."""
    data = _read(path)
    return _by_magic(data) or _as_text(data)


def by_name(name: str) -> Kind | None:
    """The kind of a file by the ending of its name."""
    return _BY_NAME.get(os.path.splitext(name.lower())[1])  # noqa: PTH122 - a name, not a path


def kind_of(path: Path) -> Kind:
    """The kind of a file without an ONNX model's name. Raises `OSError`."""
    data = _read(path)
    kind, named = _by_magic(data), by_name(path.name)
    if kind is None or (kind.archive and named is not None):
        return named or _as_text(data) or _UNKNOWN
    if kind.archive and is_onnx(path.stem):
        return Kind(f"an .onnx {kind.what}", "unpack it and import the .onnx")
    return kind


def _by_magic(data: _Bytes) -> Kind | None:
    return next((kind for test, kind in _BY_BYTES if test(data)), None)


_UNKNOWN = Kind(
    "of an unknown kind",
    "the name of a model ends with .onnx, that of an archive with .bentomodel, .tar, .tar.gz or .zip",
)


def first_foreign(names: Iterable[str]) -> str | None:
    """The sentence on the first name that belongs to a model of another format; None without one."""
    kinds = ((name, by_name(name)) for name in sorted(names))
    return next((kind.sentence(name, "is, by its name,") for name, kind in kinds if kind is not None), None)


def _read(path: Path) -> _Bytes:
    try:
        head = read_start(path, _HEAD)
    except BadManifest as error:
        raise OSError(22, str(error).removeprefix(f"{path.name} is "), str(path)) from None
    return _Bytes(head, path.stat().st_size, _names(path) if head.startswith(b"PK") else ())


def _names(path: Path) -> tuple[str, ...]:
    """The names of a zip's members, as far as its last bytes contain them."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        try:
            return tuple(zipfile.ZipFile(io.BytesIO(file.read(_TAIL))).namelist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return ()


def _as_text(data: _Bytes) -> Kind | None:
    """Text, such as a server's error instead of a file; an ONNX model is never plain text."""
    try:
        text = data.head[:1000].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < 990:
            return None
        text = data.head[: error.start].decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    what = "JSON" if text.lstrip().startswith(("{", "[")) else "text"
    return Kind(f"{what} that begins {' '.join(text.split())[:60]!r}", _FETCH)
