"""Twelve kinds of bad version of the demo models, and good ones, as folders that can be imported.

Each is made from a version that is good: `shapes:v2` of the examples, or `exposure:v1` where colours matter
(`shapes` was trained on recoloured pictures).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from examples.shapes.drawing import numbered_scene
from manifest.version_manifest import Measured
from models_import.demo_models import DEMO
from models_import.probe import Task
from tests.e2e.stores import at

_ROOT = Path(__file__).resolve().parents[2]
#: The good version that each model starts with.
GOOD = {"shapes": _ROOT / "examples" / "models" / "shapes" / "v2", "exposure": DEMO / "exposure" / "v1"}
#: Bytes that the version which does not fit asks for.
TOO_MUCH = 1 << 50
_SEED = 4711

Damage = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class BadVersion:
    """A kind of bad version. `caught` and `unlabelled` name the check that refuses it.

    `caught` where golden pictures say what is expected, `unlabelled` where they do not. `says` is in the
    reason, with golden pictures.
    """

    kind: str
    damage: Damage
    caught: str
    unlabelled: str
    says: str
    model: str = "shapes"


def write_version(folder: Path, version: str, minute: int, *, model: str = "shapes", **config: Any) -> Path:
    """A good version as `<folder>/<model>/<version>`, with fields of its config replaced; later are newer."""
    target = folder / model / version
    shutil.copytree(GOOD[model], target)
    edit_config(target, created=at(minute).isoformat(), **config)
    return target


def edit_config(version: Path, **fields: Any) -> None:
    """Replace top-level fields of a version's config."""
    path = version / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def scene(index: int) -> bytes:
    """A drawn picture as a PNG, out of a series that no training has used."""
    return _encoded(numbered_scene(_SEED, index).picture)


def plain(colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour as a PNG."""
    return _encoded(Image.new("RGB", (64, 48), colour))


def pictures(model: str) -> list[bytes]:
    """What the versions of a model are judged on."""
    if model == "exposure":
        return [plain(colour) for colour in ((255, 255, 0), (255, 0, 0), (0, 0, 255), (0, 255, 255))]
    return [scene(index) for index in range(6)]


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key of P-256 and its public one, as files in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def enormous(_: Task) -> Measured:
    """The measurement of a version that needs more memory than there is."""
    return Measured(
        load_seconds=1.0,
        peak_bytes=TOO_MUCH,
        resident_bytes=TOO_MUCH,
        onnxruntime=onnxruntime.__version__,
    )


def retrained(version: Path, seed: int, strength: float = 0.01) -> None:
    """Change each weight by about one percent, as training on would."""
    rng = np.random.default_rng(seed)

    def change(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return weights * (1 + strength * rng.standard_normal(weights.shape))

    with _graph(version) as model:
        for initializer in model.graph.initializer:
            if initializer.name.endswith(".weight"):
                _put(initializer, change(numpy_helper.to_array(initializer)))


def _encoded(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class _graph:  # noqa: N801 - used as a function is
    """The graph of a version, written back at the end."""

    def __init__(self, version: Path) -> None:
        self._path = version / "weights.onnx"
        self._model = onnx.load(self._path)

    def __enter__(self) -> onnx.ModelProto:
        return self._model

    def __exit__(self, *_: object) -> None:
        onnx.checker.check_model(self._model)
        self._path.write_bytes(self._model.SerializeToString())


def _put(initializer: onnx.TensorProto, weights: np.ndarray[Any, Any]) -> None:
    initializer.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), initializer.name))


def _edit(version: Path, **changes: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Change weights by the names of their layers; `_` stands for the dot."""
    wanted = {name.replace("__", "."): change for name, change in changes.items()}
    with _graph(version) as model:
        for initializer in model.graph.initializer:
            if initializer.name in wanted:
                _put(initializer, wanted.pop(initializer.name)(numpy_helper.to_array(initializer)))
    assert not wanted


def _input(version: Path, **fields: Any) -> None:
    config = json.loads((version / "config.json").read_text())
    edit_config(version, input=config["input"] | fields)


def _permute(version: Path) -> None:
    def turn(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.roll(rows, 1, axis=0)

    _edit(version, scores__weight=turn, scores__bias=turn)


def _constant(version: Path) -> None:
    _edit(version, distances__weight=np.zeros_like, scores__weight=np.zeros_like)


def _nan(version: Path) -> None:
    _edit(version, head__weight=lambda weights: np.full_like(weights, np.nan))


def _larger_input(version: Path) -> None:
    """The graph takes 256x256 and halves it."""
    with _graph(version) as model:
        _rename_input(model, "half")
        model.graph.node.insert(
            0, helper.make_node("AveragePool", ["image"], ["half"], kernel_shape=[2, 2], strides=[2, 2])
        )
        model.graph.input[0].CopyFrom(
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 256, 256])
        )
    _input(version, width=256, height=256)


def _rename_input(model: onnx.ModelProto, name: str) -> None:
    for node in model.graph.node:
        for place, each in enumerate(node.input):
            if each == "image":
                node.input[place] = name


def _fewer_labels(version: Path) -> None:
    """The last class is gone, in the graph and in the config."""
    _edit(version, scores__weight=lambda rows: rows[:-1], scores__bias=lambda rows: rows[:-1])
    with _graph(version) as model:
        model.graph.output[0].CopyFrom(
            helper.make_tensor_value_info("predictions", TensorProto.FLOAT, ["N", 7, 16, 16])
        )
    labels = json.loads((version / "config.json").read_text())["labels"]
    edit_config(version, labels=labels[:-1])


def _slow(version: Path) -> None:
    """Convolutions whose result counts for nothing, beside the network."""
    rng = np.random.default_rng(0)
    with _graph(version) as model:
        _rename_input(model, "same")
        model.graph.initializer.extend(
            numpy_helper.from_array(array, name)
            for name, array in (
                ("wide.weight", rng.random((64, 3, 9, 9), np.float32) / 300),
                ("deep.weight", rng.random((64, 64, 3, 3), np.float32) / 600),
                ("nothing", np.float32(0)),
            )
        )
        axes = {"axes": [1, 2, 3], "keepdims": 1}
        nodes = [
            helper.make_node("Conv", ["image", "wide.weight"], ["wide"], pads=[4] * 4),
            helper.make_node("Conv", ["wide", "deep.weight"], ["deep"], pads=[1] * 4),
            helper.make_node("ReduceMean", ["deep"], ["mean"], **axes),
            helper.make_node("Mul", ["mean", "nothing"], ["weightless"]),
            helper.make_node("Add", ["image", "weightless"], ["same"]),
        ]
        for place, node in enumerate(nodes):
            model.graph.node.insert(place, node)


def _half_trained(version: Path) -> None:
    """The weights of the short training."""
    shutil.copy(DEMO / "shapes" / "v1" / "weights.onnx", version / "weights.onnx")


def _untouched(_: Path) -> None:
    """Good in itself."""


BAD_VERSIONS = (
    BadVersion("classes permuted", _permute, "golden pictures", "agreement", "lacks"),
    BadVersion(
        "RGB for BGR",
        lambda version: _input(version, colour_order="BGR"),
        "golden pictures",
        "agreement",
        "expected objects",
        model="exposure",
    ),
    BadVersion(
        "wrong scale",
        lambda version: _input(version, scale=1.0),
        "golden pictures",
        "agreement",
        "expected objects",
    ),
    BadVersion(
        "wrong layout",
        lambda version: _input(version, layout="NHWC"),
        "load",
        "load",
        "config.json should say input.layout 'NCHW', found 'NHWC'",
    ),
    BadVersion("NaN weights", _nan, "warm-up", "warm-up", "output predictions holds NaN"),
    BadVersion("constant output", _constant, "answers", "answers", "the answer is the same for all"),
    BadVersion("input size changed", _larger_input, "contract", "contract", "input is 256x256, was 128x128"),
    BadVersion("labels missing", _fewer_labels, "contract", "contract", "has 3 labels, had 4"),
    BadVersion("ten times slower", _slow, "latency", "latency", "as long is allowed"),
    BadVersion("does not fit in memory", _untouched, "memory", "memory", "MB at its peak; budget"),
    BadVersion("wrong signature", _untouched, "signature", "signature", "another key"),
    BadVersion(
        "worse on truth",
        _half_trained,
        "golden pictures",
        "agreement",
        "expected objects",
    ),
)
