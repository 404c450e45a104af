"""What a file is that is no ONNX model, and what can be done with it: told by its bytes, else by its name.

A look at the first bytes, and at the table of contents of a zip, is enough: nothing is unpacked or unpickled.
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
from hotswap.manifest import BadManifest
from models_import.small_files import read_start

_HEAD = 4096
#: The names of all members of a zip that BentoML exports stand in so many of its last bytes.
_TAIL = 1_000_000

ONNX = ".onnx"
#: Endings of archives that BentoML exports.
ARCHIVES = (".bentomodel", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zip")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is, and what to do. `archive` is BentoML's word for how it is packed, if it may be one
    that BentoML has exported."""

    what: str
    mend: str
    archive: str = ""

    def told(self, name: str, verb: str = "is") -> str:
        """In one sentence, of the file that people call `name`."""
        return f"{plain(name, 200)} {verb} no ONNX model, but {self.what}: {self.mend}"


@dataclass(frozen=True, slots=True)
class _Bytes:
    head: bytes
    size: int
    #: Of a zip: the names of what it holds.
    names: tuple[str, ...]


_Test = Callable[[_Bytes], bool]


def _at(place: int, *magics: bytes) -> _Test:
    return lambda found: any(found.head[place : place + len(magic)] == magic for magic in magics)


def _zip_of(*ends: str) -> _Test:
    """A zip that holds a file whose path ends like this."""
    return lambda found: any(name.endswith(ends) for name in found.names)


def _text(pattern: bytes) -> _Test:
    """Text that begins like this, white space and a byte order mark left out."""
    # Nothing is tried twice (`*+`, `(?>`): the bytes may be made to take long.
    compiled = re.compile(rb"(?:\xef\xbb\xbf)?\s*+(?:" + pattern + rb")", re.IGNORECASE | re.DOTALL)
    return lambda found: compiled.match(found.head) is not None


def _is_safetensors(found: _Bytes) -> bool:
    return found.head[8:9] == b"{" and int.from_bytes(found.head[:8], "little") + 8 <= found.size


def _exported_by(command: str) -> str:
    return f"export it to ONNX ({command}), and import the .onnx"


_FETCH = "fetch the file again, and look at what the server answers"
_UNPACK = "unpack it, and import what it holds"
_TORCH = Kind(
    "a PyTorch model (a pickle, which is never opened here)",
    _exported_by("`yolo export format=onnx`, or `torch.onnx.export`"),
)
_TORCHSCRIPT = Kind("a TorchScript model", _exported_by("`torch.onnx.export` on the model it was made of"))
_TORCH_PROGRAM = Kind("a program of torch.export", _exported_by("`torch.onnx.export(program)`"))
_PICKLE = Kind("a Python pickle, which is never opened here", _exported_by("from the program that made it"))
_KERAS = Kind("a Keras model", _exported_by("`model.export(path, format='onnx')`, or tf2onnx"))
_TENSORFLOW = Kind("a TensorFlow graph", _exported_by("`python -m tf2onnx.convert`"))
_TFLITE = Kind("a TensorFlow Lite model", _exported_by("`python -m tf2onnx.convert --tflite`"))
_TENSORRT = Kind(
    "a TensorRT engine, which runs on the GPU it was built for",
    _exported_by("from what the engine was built of"),
)
_SAFETENSORS = Kind(
    "a safetensors file (weights without a graph)",
    _exported_by("`torch.onnx.export`, or `optimum-cli export onnx`"),
)
_SOURCE = _exported_by("from the model it was converted from")
_OPENVINO = Kind("an OpenVINO model", _SOURCE)
_COREML = Kind("a Core ML model", _SOURCE)
_NCNN = Kind("an NCNN model", _SOURCE)
_PADDLE = Kind("a Paddle model", _exported_by("`paddle2onnx`"))
_NUMPY = Kind("a NumPy array", _exported_by("from the program that made it"))

LFS = Kind("a pointer of Git LFS in its place", "run `git lfs pull` where it was cloned")
ANNEX = Kind("a pointer of git-annex in its place", "run `git annex get` where it was cloned")
HTML = Kind("a web page (HTML)", f"the address may be that of a page about the file: {_FETCH}")
EMPTY = Kind("an empty file (0 bytes)", "copy it again")
#: What may lie in the place of any large file.
POINTERS = (LFS, ANNEX, HTML, EMPTY)


def _packed(how: str) -> Kind:
    return Kind(f"packed with {how}", _UNPACK)


#: In this order. ONNX has no mark of its own; nothing here can be the beginning of one.
_BY_BYTES: tuple[tuple[_Test, Kind], ...] = (
    (lambda found: found.size == 0, EMPTY),
    (_text(rb"version https?://\S*(?:git-lfs|git-media|hawser)"), LFS),
    (_text(rb"(?:\.\./)*(?:\.git)?/annex/objects/"), ANNEX),
    (
        _text(rb"(?:md5|outs|wdir)\s*:.*?\bmd5\s*:"),
        Kind("a pointer of DVC in its place", "run `dvc pull`, and import what it brings"),
    ),
    (_text(rb"(?:<\?xml[^>]*+>|<!--(?>.*?-->)|\s)*+<(?:!doctype\s+html|html|head|body)\b"), HTML),
    (_text(rb"(?:<\?xml[^>]*+>\s*+)?<net\b"), _OPENVINO),
    (_text(rb"7767517\s"), _NCNN),
    (_at(4, b"TFL3"), _TFLITE),
    (_at(4, b"ORTM"), Kind("a model in onnxruntime's own format", "import the .onnx that it was made of")),
    (_at(0, b"\x89HDF\r\n\x1a\n"), _KERAS),
    (_at(0, b"ftrt", b"ptrt"), _TENSORRT),
    (_at(0, b"RKNN"), Kind("a model for Rockchip's processors", _SOURCE)),
    (_at(0, b"\x93NUMPY"), _NUMPY),
    (_zip_of("model.yaml"), Kind("a zip", _UNPACK, archive="zip")),
    (_zip_of("serialized_exported_program.json", "archive_format"), _TORCH_PROGRAM),
    (_zip_of("constants.pkl"), _TORCHSCRIPT),
    (_zip_of("data.pkl"), _TORCH),
    (_zip_of("model.weights.h5"), _KERAS),
    (_zip_of(ONNX), Kind("a zip that holds an .onnx and was not exported by BentoML", _UNPACK)),
    (_zip_of(".npy"), _NUMPY),
    (_zip_of(""), Kind("a zip that BentoML has not exported", _UNPACK)),
    (_at(0, b"PK\x03\x04", b"PK\x05\x06"), Kind("a zip, cut off or damaged", "copy it again", archive="zip")),
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
    ".bin": Kind("a file of weights without a graph (OpenVINO, NCNN, PyTorch)", _SOURCE),
    ".caffemodel": Kind("a Caffe model", _SOURCE),
    ".weights": Kind("a Darknet model", _SOURCE),
    ".mnn": Kind("an MNN model", _SOURCE),
    ".rknn": Kind("a model for Rockchip's processors", _SOURCE),
    ".dvc": Kind("a pointer of DVC in its place", "run `dvc pull`, and import what it brings"),
}


def is_onnx(name: str) -> bool:
    """Whether a name is that of an ONNX model."""
    return name.lower().endswith(ONNX)


def by_bytes(path: Path) -> Kind | None:
    """What the bytes of a file tell; None where they may be those of an ONNX model. Raises `OSError`."""
    found = _read(path)
    return _told(found) or _as_text(found)


def by_name(name: str) -> Kind | None:
    """What the ending of a name tells."""
    return _BY_NAME.get(os.path.splitext(name.lower())[1])  # noqa: PTH122 - a name, no path


def kind_of(path: Path) -> Kind:
    """What a file is whose name is not that of an ONNX model. Raises `OSError`."""
    found = _read(path)
    told, named = _told(found), by_name(path.name)
    if told is None or (told.archive and named is not None):
        return named or _as_text(found) or _UNKNOWN
    if told.archive and is_onnx(path.stem):
        return Kind(f"an .onnx {told.what}", "unpack it, and import the .onnx")
    return told


def _told(found: _Bytes) -> Kind | None:
    return next((kind for test, kind in _BY_BYTES if test(found)), None)


_UNKNOWN = Kind(
    "of a kind that is not known",
    "a model's name ends with .onnx, that of an archive with .bentomodel, .tar, .tar.gz or .zip",
)


def first_foreign(names: Iterable[str]) -> str | None:
    """What is said of the first of these names that is that of a model which is not ONNX."""
    told = ((name, by_name(name)) for name in sorted(names))
    return next((kind.told(name, "is, by its name,") for name, kind in told if kind is not None), None)


def _read(path: Path) -> _Bytes:
    try:
        head = read_start(path, _HEAD)
    except BadManifest as error:
        raise OSError(22, str(error).removeprefix(f"{path.name} is "), str(path)) from None
    return _Bytes(head, path.stat().st_size, _names(path) if head.startswith(b"PK") else ())


def _names(path: Path) -> tuple[str, ...]:
    """What a zip holds, as far as its last bytes tell."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        try:
            return tuple(zipfile.ZipFile(io.BytesIO(file.read(_TAIL))).namelist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return ()


def _as_text(found: _Bytes) -> Kind | None:
    """Text, such as an error that a server sent instead of a file; an ONNX model is never text alone."""
    try:
        text = found.head[:1000].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < 990:
            return None
        text = found.head[: error.start].decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    what = "JSON" if text.lstrip().startswith(("{", "[")) else "text"
    return Kind(f"{what} that begins {' '.join(text.split())[:60]!r}", _FETCH)
