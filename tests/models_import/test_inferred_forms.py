"""A first config for graphs with prompts, masks or several forms: the family and the form by the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from models_import.candidates import Wanted, open_onnx
from models_import.errors import ImportRefused
from models_import.inferred_config import infer_config
from tests.models_import.exports import ULTRALYTICS, export
from tests.models_import.test_inferred_config import ROWS, infer, sources

SEGMENT = ULTRALYTICS | {"task": "segment"}


@pytest.mark.parametrize("shape", [(1, 7 + 32, ROWS), (1, ROWS, 7 + 32), (1, 300, 6 + 32)])
def test_an_ultralytics_segmenter_in_each_form(tmp_path: Path, shape: tuple[int, ...]) -> None:
    outputs = {"output0": (shape, ["Concat"]), "output1": ((1, 32, 16, 16), ["Mul"])}
    config = infer(tmp_path, outputs, metadata=SEGMENT).config
    assert (config.family, config.task, len(config.labels)) == ("yolov8-seg", "instance-segmentation", 3)
    assert (config.input.resize.mode, config.input.pad) == ("longest_edge_centre", 114)
    with pytest.raises(ImportRefused):
        infer(tmp_path, outputs)  # nothing says where it is from


def _texts(*names: str) -> list[Any]:
    return [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "L"]) for name in names]


MASK = helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, ["N", 64, 64])
BOXES = {"pred_boxes": ((1, 9, 4), ["Sigmoid"])}
LIMITED = {
    "image_processor_type": "DetrImageProcessor",
    "size": {"shortest_edge": 40, "longest_edge": 60},
    "resample": 2,
    "image_mean": [0.5] * 3,
    "image_std": [0.25] * 3,
}


def _processor(folder: Path, document: dict[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(document))


def test_detr_by_its_mask_or_its_column_for_none(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    outputs = {"logits": ((1, 9, 3), ["Add"])} | BOXES
    for found in (infer(tmp_path, outputs), infer(tmp_path, outputs, inputs=[MASK])):
        assert (found.config.family, found.config.labels) == ("detr", ["a", "b"])
        assert sources(found)["family"] == "graph"
    several = infer(tmp_path, {"logits": ((1, 9, 2), ["Add"])} | BOXES, inputs=[MASK]).config
    assert (several.family, several.labels) == ("detr", ["a", "b"])


def test_the_sides_of_a_graph_say_whether_it_keeps_the_aspect(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    _processor(tmp_path, LIMITED)
    outputs = {"logits": ((1, 9, 3), ["Add"])} | BOXES
    found = infer(tmp_path, outputs, inputs=[MASK], picture=(1, 3, "h", "w"))
    resize = found.config.input.resize
    assert (resize.mode, resize.edge, found.config.input.width) == ("keep_aspect", 40, 60)
    assert (sources(found)["input.resize"], found.config.input.pad) == ("metadata", "zero")
    fixed = infer(tmp_path, outputs, inputs=[MASK])
    assert (fixed.config.input.resize.mode, fixed.config.input.width) == ("stretch", 64)
    assert sources(fixed)["input.resize"] == "graph"


def test_grounding_dino_in_its_authors_form(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    inputs = _texts("input_ids", "attention_mask", "position_ids", "token_type_ids", "text_token_mask")
    outputs = {"logits": ((1, 9, 256), ["Add"]), "boxes": ((1, 9, 4), ["Sigmoid"])}
    config = infer(tmp_path, outputs, inputs=inputs).config
    assert (config.family, config.output.names) == ("grounding-dino", ["logits", "boxes"])
    assert (config.input.name, config.input.resize.mode) == ("images", "stretch")


def test_owl_by_its_texts(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    inputs = _texts("input_ids", "attention_mask")
    outputs = {"logits": ((1, 9, "T"), ["Add"]), "text_embeds": ((1, "T", 8), ["Mul"])} | BOXES
    config = infer(tmp_path, outputs, inputs=inputs).config
    assert (config.family, config.output.names) == ("owlv2", ["logits", "pred_boxes"])
    assert (config.input.resize.mode, config.input.pad) == ("square", 127.5)


def _decoder(folder: Path, name: str) -> None:
    inputs = [
        helper.make_tensor_value_info("image_embeddings", TensorProto.FLOAT, [1, 8, 4, 4]),
        helper.make_tensor_value_info("point_coords", TensorProto.FLOAT, [1, "P", 2]),
    ]
    export(folder / name, {"masks": ((1, 4, "H", "W"), ["Resize"])}, inputs=inputs)


def test_sam_by_the_decoder_beside_it(tmp_path: Path) -> None:
    outputs = {"image_embeddings": ((1, 8, 4, 4), ["Conv"])}
    with pytest.raises(ImportRefused, match="Put its decoder into the same folder"):
        infer(tmp_path, outputs)
    _decoder(tmp_path, "decoder.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    found = infer(tmp_path, outputs)
    files = {name: graph.file for name, graph in found.config.graphs.items()}
    assert (found.config.family, files) == ("sam", {"encoder": "m.onnx", "decoder": "decoder.onnx"})
    assert (found.config.input.resize.mode, found.config.input.pad) == ("longest_edge", "zero")
    (tmp_path / "config.json").write_text(found.text())
    opened = open_onnx(tmp_path / "m.onnx", Wanted("sam", "v1", tmp_path / "config.json"))
    assert set(opened.files) == {"config.json", "m.onnx", "decoder.onnx"}
    _decoder(tmp_path, "decoder_of_another.onnx")
    with pytest.raises(ImportRefused):
        infer(tmp_path, outputs)  # which of both?


def test_an_encoder_of_one_picture_does_the_rest_itself(tmp_path: Path) -> None:
    _processor(tmp_path, {"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    _decoder(tmp_path, "decoder.onnx")
    outputs = {"image_embeddings": ((1, 8, 4, 4), ["Conv"])}
    found = infer(tmp_path, outputs, picture=("h", "w", 3)).config.input
    assert (found.layout, found.width, found.scale, found.mean, found.std) == ("HWC", 1024, 1.0, None, None)


def test_a_mean_beyond_one_is_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n")
    _processor(tmp_path, {"size": 64, "resample": 2, "image_mean": [123.0] * 3, "image_std": [58.0] * 3})
    found = infer(tmp_path, {"probs": ((1, 2), ["Softmax"])}).config.input
    assert (found.scale, found.mean) == (1.0, [123.0] * 3)


@pytest.mark.parametrize(
    ("outputs", "mean", "edge"),
    [
        ({"image_embeds": (("n", 512), ["MatMul"])}, 0.48145466, 224),
        (
            {"last_hidden_state": (("n", 257, 384), ["Add"]), "pooler_output": (("n", 384), ["Gather"])},
            0.485,
            256,
        ),
    ],
    ids=["clip", "dinov2"],
)
@pytest.mark.parametrize("side", [224, 336])
def test_encoders_of_transformers_are_bicubic(
    tmp_path: Path, outputs: dict[str, Any], mean: float, edge: int, side: int
) -> None:
    found = infer(tmp_path, outputs, picture=("n", 3, side, side))
    given = found.config.input
    assert (given.resize.mode, given.resize.kernel) == ("shortest_edge", "bicubic")
    assert (given.resize.edge, (given.mean or [])[0]) == (edge * side // 224, mean)
    assert {"input.resize", "input.mean", "input.std"} <= found.assumptions.keys()
    _processor(tmp_path, LIMITED | {"size": 224, "resample": "bilinear (2)"})
    near = infer(tmp_path, outputs, picture=("n", 3, side, side)).config.input
    assert (near.resize.mode, near.resize.kernel, near.mean) == ("stretch", "bilinear", [0.5] * 3)


def test_a_second_graph_alone_is_told_to_be_one(tmp_path: Path) -> None:
    embeddings = [helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "L"])]
    path = export(tmp_path / "m.onnx", {"text_embeds": ((1, 8), ["Gemm"])}, inputs=embeddings)
    body = onnx.load(path)
    body.graph.input[0].CopyFrom(helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "L"]))
    onnx.save(body, path)
    with pytest.raises(ImportRefused, match=r"takes texts.*the graph that takes the picture instead"):
        infer_config(path)


def test_an_encoder_of_another_kind_is_as_most_models(tmp_path: Path) -> None:
    given = infer(tmp_path, {"feature": (("n", 64), ["Gemm"])}).config.input
    assert (given.resize.kernel, given.mean) == ("bilinear", [0.485, 0.456, 0.406])


def test_a_map_with_channels_last_is_as_deeplab_and_with_channels_first_as_segformer(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    last = infer(tmp_path, {"out": ((1, 64, 64, 4), ["Resize"])}, picture=(1, 64, 64, 3)).config.input
    first = infer(tmp_path, {"logits": ((1, 4, 16, 16), ["Conv"])}).config.input
    assert ([pixel * last.scale - (last.mean or [])[0] for pixel in (0, 255)], last.std) == (
        pytest.approx([-1, 1]),
        None,
    )
    assert (first.mean, last.resize.mode, first.resize.mode) == ([0.485, 0.456, 0.406], "stretch", "stretch")


def test_clip_of_another_size_is_cut_from_an_edge_that_fits(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    outputs = {"logits_per_image": (("n", "t"), ["MatMul"])}
    texts = _texts("input_ids", "attention_mask")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    given = infer(tmp_path, outputs, picture=("n", 3, 336, 336), inputs=texts).config.input
    assert (given.resize.edge, given.resize.kernel) == (336, "bicubic")
