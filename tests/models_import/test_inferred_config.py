"""A first config from an ONNX file: the family by evidence, the rest by the graph, its metadata or marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from manifest.version_manifest import parse_config
from models_import.assumed_input import known_config
from models_import.candidates import Wanted
from models_import.demo_models import DEMO
from models_import.errors import ImportRefused
from models_import.family_match import RULES
from models_import.inferred_config import Given, InferredConfig, infer_config
from runners.families.index import FAMILIES
from tests.builders import graph as code_graph
from tests.models_import.exports import ULTRALYTICS, export
from tests.models_import.shop import bring

#: For pictures of 64x64: cells of strides 8, 16 and 32.
CELLS = {8: 64, 16: 16, 32: 4}
ROWS = sum(CELLS.values())
NANODET: dict[str, Any] = {
    f"{kind}_pred_stride_{stride}": ((1, cells, columns), [last])
    for kind, columns, last in (("cls", 7, "Sigmoid"), ("dis", 32, "Conv"))
    for stride, cells in CELLS.items()
}
FASTESTDET = ((1, 8, 4, 4), ["Concat", "Sigmoid+Conv+Softmax"])
YOLOX = ((1, ROWS, 8), ["Transpose", "Concat", "Concat+Concat", "Conv"])
ULTRAFACE = {"scores": ((1, 50, 2), ["Softmax"]), "boxes": ((1, 50, 4), ["Concat"])}


def sources(inferred: InferredConfig) -> dict[str, str]:
    return {finding.field: finding.source for finding in inferred.findings}


def infer(folder: Path, outputs: dict[str, Any], given: Given | None = None, **more: Any) -> InferredConfig:
    return infer_config(export(folder / "m.onnx", outputs, **more), given or Given())


def test_every_family_but_those_for_any_graph_has_a_rule() -> None:
    assert RULES.keys() == FAMILIES.keys() - {"adapter", "generic"}


def test_of_a_family_without_a_rule_no_config_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="nothing is known of exports for generic"):
        infer(tmp_path, {"out": ((1, 5), ["Gemm"])}, Given(family="generic"))


class TestFamilies:
    @pytest.mark.parametrize(
        ("outputs", "family", "labels"),
        [
            (NANODET, "nanodet", 7),
            ({"758": FASTESTDET}, "fastestdet", 3),
            ({"output": YOLOX}, "yolox", 3),
            (ULTRAFACE, "ultraface", 1),
            ({"out": ((1, 5), ["Softmax", "Gemm"])}, "classifier", 5),
            ({"out": ((1, 5, 1, 1), ["Reshape", "Sigmoid"])}, "classifier", 5),
            ({"logits": (("batch", 5), ["Gemm"])}, "classifier", 5),
            ({"out": ((1, 1000), ["Gemm"])}, "classifier", 1000),
            ({"image_embeds": (("n", 512), ["MatMul"])}, "embedder", 0),
            ({"last_hidden_state": (("n", "t", 384), ["Add"])}, "embedder", 0),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_by_outputs_and_operators(
        self, tmp_path: Path, outputs: dict[str, Any], family: str, labels: int
    ) -> None:
        inferred = infer(tmp_path, outputs)
        assert (inferred.config.family, len(inferred.config.labels)) == (family, labels)
        assert sources(inferred)["family"] == ("assumption" if labels == 1000 else "graph")
        assert inferred.config.output.names == [*outputs] or len(outputs) > 1

    @pytest.mark.parametrize(
        "outputs",
        [
            {"output0": ((1, 84, 84), ["Concat", "Concat"])},
            {"out": ((1, 3 * ROWS + 1, 85), ["Concat"])},
            {"out": ((1, 21, 64, 64), ["Resize"])},
            {"out": ((1, 1029, 4, 4), ["Conv"])},
            {"boxes": ((1, 9, 4), ["Concat"]), "scores": ((1, 9), ["TopK"]), "labels": ((1, 9), ["Mod"])},
            {"scores": ((1, 50, 2), ["Concat"]), "boxes": ((1, 50, 4), ["Concat"])},
            {"scores": ((1, 50, 2), ["Softmax"]), "boxes": ((1, 49, 4), ["Concat"])},
            {"out": ((), ["Identity"])},
            NANODET | {"cls_pred_stride_8": ((1, 63, 7), ["Sigmoid"])},
            {"out": ((1, ROWS, 5), ["Transpose"])},
        ],
        ids=range(10),
    )
    def test_a_graph_of_none_is_refused_with_what_there_is(
        self, tmp_path: Path, outputs: dict[str, Any]
    ) -> None:
        with pytest.raises(ImportRefused) as refused:
            infer(tmp_path, outputs)
        text = str(refused.value)
        assert all(family in text for family in FAMILIES)
        assert next(iter(outputs)) in text

    def test_an_ultralytics_export_for_another_task_is_named(self, tmp_path: Path) -> None:
        outputs = {"output0": ((1, 7, ROWS), ["Concat"])}
        with pytest.raises(ImportRefused, match="an export of Ultralytics for the task 'pose'"):
            infer(tmp_path, outputs, metadata=ULTRALYTICS | {"task": "pose"})

    @pytest.mark.parametrize("shape", [(1, 7, ROWS), (1, ROWS, 7), (1, 300, 6)])
    def test_an_ultralytics_detector_in_each_form(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        outputs = {"output0": (shape, ["Concat"])}
        config = infer(tmp_path, outputs, metadata=ULTRALYTICS | {"task": "detect"}).config
        assert (config.family, config.input.resize.mode, len(config.labels)) == (
            "yolov8",
            "longest_edge_centre",
            3,
        )

    def test_three_anchors_a_cell_are_those_of_yolov5(self, tmp_path: Path) -> None:
        outputs = {"out": ((1, 3 * ROWS, 8), ["Concat"])}
        config = infer(tmp_path, outputs, metadata={"names": "['a', 'b', 'c']", "stride": "32"}).config
        assert (config.family, config.labels) == ("yolov5", ["a", "b", "c"])

    def test_rt_detr_by_its_input_or_its_labels(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("a\nb\n")
        size = helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, ["N", 2])
        authors = {
            name: ((1, 9, *more), ["Mod"]) for name, more in (("labels", ()), ("boxes", (4,)), ("scores", ()))
        }
        config = infer(tmp_path, authors, inputs=[size]).config
        assert (config.family, config.output.names) == ("rtdetr", ["labels", "boxes", "scores"])
        transformers = {"logits": ((1, 9, 2), ["Concat"]), "pred_boxes": ((1, 9, 4), ["Concat"])}
        found = infer(tmp_path, transformers)
        assert (found.config.family, sources(found)["family"]) == ("rtdetr", "assumption")
        (tmp_path / "labels.txt").write_text("a\nb\nc\n")  # DETR has a column more, and these have one less
        with pytest.raises(ImportRefused, match="none of the families"):
            infer(tmp_path, transformers)

    def test_a_map_with_as_many_channels_as_labels_is_of_a_segmenter(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("sky\ntree\n")
        config = infer(tmp_path, {"logits": ((1, 2, 9, 9), ["Conv"])}).config
        assert (config.family, config.task) == ("segmenter", "semantic-segmentation")

    def test_a_known_exporter_of_others_makes_no_yolox(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="YOLOv5"):
            infer(tmp_path, {"output": YOLOX}, metadata={"names": "['a', 'b', 'c']", "stride": "32"})

    @pytest.mark.parametrize(("operators", "decoded"), [(YOLOX[1], False), (["Concat", "Exp+Mul"], True)])
    def test_decoded_boxes_are_told_by_the_operators(
        self, tmp_path: Path, operators: list[str], decoded: bool
    ) -> None:
        inferred = infer(tmp_path, {"output": ((1, ROWS, 8), operators)})
        assert inferred.config.output.parameters == {"decoded": decoded}
        assert sources(inferred)["output.parameters.decoded"] == "graph"

    def test_the_shape_of_yolox_alone_does_not_do(self, tmp_path: Path) -> None:
        """YOLOv6 has it too, and YOLOv8 with turned rows; their preprocessing is another."""
        turned: dict[str, Any] = {"output": ((1, ROWS, 8), ["Transpose", "Concat", "Mul+Sigmoid"])}
        with pytest.raises(ImportRefused, match="fits none"):
            infer(tmp_path, turned)
        outputs: dict[str, Any] = {"output": ((1, ROWS, 8), ["Concat", "Mul"])}
        with pytest.raises(ImportRefused, match="fits none"):
            infer(tmp_path, outputs)
        chosen = infer(tmp_path, outputs, Given(family="yolox"))
        assert "output.parameters.decoded" in chosen.assumptions

    @pytest.mark.parametrize(
        ("name", "operators", "softmax", "source"),
        [
            ("out", ["Softmax"], False, "graph"),
            ("logits", ["Gemm"], True, "graph"),
            ("logits", ["Cast", "Reshape", "Conv"], True, "graph"),
            ("probs", ["Clip"], False, "assumption"),
            ("logits", ["Clip"], True, "assumption"),
        ],
    )
    def test_logits_are_told_from_scores(
        self, tmp_path: Path, name: str, operators: list[str], softmax: bool, source: str
    ) -> None:
        inferred = infer(tmp_path, {name: ((1, 5), operators)})
        assert inferred.config.output.parameters == {"softmax": softmax}
        assert sources(inferred)["output.parameters.softmax"] == source

    def test_an_embedding_is_no_head_whatever_its_length(self, tmp_path: Path) -> None:
        assert infer(tmp_path, {"embedding": ((1, 1000), ["Gemm"])}).config.family == "embedder"
        (tmp_path / "labels.txt").write_text("a\nb\n")
        assert infer(tmp_path, {"feature": ((1, 2), ["Gemm"])}).config.family == "embedder"

    def test_scores_come_before_an_embedding(self, tmp_path: Path) -> None:
        outputs = {"embedding": ((1, 9), ["Relu"]), "out": ((1, 5), ["Softmax"])}
        inferred = infer(tmp_path, outputs)
        assert (inferred.config.family, inferred.config.output.names) == ("classifier", ["out"])
        inferred = infer(tmp_path, outputs, Given(family="embedder"))
        assert (inferred.config.family, inferred.config.output.names) == ("embedder", ["embedding"])
        assert inferred.config.output.parameters == {"dimension": 9}

    def test_two_heads_are_a_choice(self, tmp_path: Path) -> None:
        inferred = infer(tmp_path, {"age": ((1, 9), ["Softmax"]), "mood": ((1, 5), ["Softmax"])})
        assert inferred.config.output.names == ["age"]
        assert "mood" in inferred.assumptions["output.names"]

    def test_a_bare_vector_needs_a_choice(self, tmp_path: Path) -> None:
        outputs = {"Identity": ((1, 256), ["Add"])}
        with pytest.raises(ImportRefused, match="--family classifier or --family embedder"):
            infer(tmp_path, outputs)
        chosen = infer(tmp_path, outputs, Given(family="embedder"))
        assert (chosen.config.family, sources(chosen)["family"]) == ("embedder", "given")
        assert infer(tmp_path, outputs, Given(family="classifier")).config.family == "classifier"

    def test_a_chosen_family_must_fit(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="does not fit the family yolox"):
            infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, Given(family="yolox"))
        with pytest.raises(ImportRefused, match="allowed are"):
            infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, Given(family="yolo"))

    @pytest.mark.parametrize("name", ["exposure", "shapes"])
    def test_our_own_demos(self, name: str) -> None:
        (config,) = DEMO.glob(f"{name}/*/config.json")
        inferred = infer_config(config.with_name("weights.onnx"))
        wanted = parse_config(config.read_bytes())
        assert (inferred.config.family, inferred.config.input) == (name, wanted.input)
        assert len(inferred.config.labels) == len(wanted.labels)


class TestInput:
    @pytest.mark.parametrize(
        ("picture", "layout", "size", "source"),
        [
            ((1, 3, 48, 64), "NCHW", (64, 48), "graph"),
            (("n", 48, 64, 3), "NHWC", (64, 48), "graph"),
            (("n", "num_channels", 48, 64), "NCHW", (64, 48), "graph"),
            ((None, None, 48, 64), "NCHW", (64, 48), "graph"),
        ],
    )
    def test_layout_and_size(
        self, tmp_path: Path, picture: Any, layout: str, size: tuple[int, int], source: str
    ) -> None:
        inferred = infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, picture=picture)
        found = inferred.config.input
        assert (found.name, found.layout, (found.width, found.height)) == ("images", layout, size)
        assert sources(inferred)["input.layout"] == source

    @pytest.mark.parametrize(
        "picture",
        [
            (1, 3, 64),
            (1, 1, 64, 64),
            (1, 4, 64, 64),
            (8, 3, 64, 64),
            (1, 3, 0xFFFFFFF, 0xFFFFFFF),
            (1, 3, 9000, 4),
        ],
    )
    def test_what_takes_no_pictures_is_refused(self, tmp_path: Path, picture: Any) -> None:
        for outputs in ({"out": ((1, 5), ["Softmax"])}, {"output": YOLOX}):
            with pytest.raises(ImportRefused):
                infer(tmp_path, outputs, picture=picture)

    def test_half_precision_is_the_inputs_type(self, tmp_path: Path) -> None:
        inferred = infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, dtype=TensorProto.FLOAT16)
        assert (inferred.config.input.dtype, sources(inferred)["input.dtype"]) == ("float16", "graph")

    @pytest.mark.parametrize(
        ("name", "message"), [("words", "2 inputs"), ("input_ids", "none of the families")]
    )
    def test_inputs_that_no_family_feeds_are_refused(self, tmp_path: Path, name: str, message: str) -> None:
        more = helper.make_tensor_value_info(name, TensorProto.INT64, ["n"])
        with pytest.raises(ImportRefused, match=message):
            infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, inputs=[more])

    def test_a_model_with_text_needs_its_tokenizer_beside_it(self, tmp_path: Path) -> None:
        outputs = {"logits": ((1, 9, 256), []), "pred_boxes": ((1, 9, 4), [])}
        fed = [
            helper.make_tensor_value_info(name, TensorProto.INT64, [1, "n"])
            for name in ("input_ids", "token_type_ids", "attention_mask", "pixel_mask")
        ]
        with pytest.raises(ImportRefused, match=r"needs the model's tokenizer\.json"):
            infer(tmp_path, outputs, inputs=fed)
        (tmp_path / "tokenizer.json").write_text("{}")
        config = infer(tmp_path, outputs, inputs=fed).config
        assert (config.family, config.tokenizer) == ("grounding-dino", "tokenizer.json")

    def test_bytes_are_not_scaled(self, tmp_path: Path) -> None:
        outputs = {"out": ((1, 5), ["Softmax"])}
        of_floats = {"Image.NominalPixelRange": "Normalized_1_1"}
        inferred = infer(tmp_path, outputs, dtype=TensorProto.UINT8, metadata=of_floats)
        assert (inferred.config.input.dtype, inferred.config.input.scale) == ("uint8", 1.0)
        assert sources(inferred)["input.scale"] == "graph"
        assert inferred.config.input.mean is None

    def test_an_open_size_comes_from_elsewhere_or_is_asked_for(self, tmp_path: Path) -> None:
        outputs: dict[str, Any] = {"out": ((1, 3), ["Softmax"])}
        picture = ("n", 3, "height", "width")
        with pytest.raises(ImportRefused, match="--size"):
            infer(tmp_path, outputs, picture=picture)
        told = infer(tmp_path, outputs, picture=picture, metadata=ULTRALYTICS)
        assert (told.config.input.width, told.config.input.height) == (64, 48)
        assert sources(told)["input.width"] == "metadata"
        chosen = infer(tmp_path, outputs, Given(size=(32, 16)), picture=picture, metadata=ULTRALYTICS)
        assert (chosen.config.input.width, chosen.config.input.height) == (32, 16)
        assert sources(chosen)["input.width"] == "given"

    @pytest.mark.parametrize(
        ("picture", "layout"),
        [(("n", "num_channels", "h", "w"), "NCHW"), (("n", "h", "w", "channels"), "NHWC")],
    )
    def test_channels_may_be_named(self, tmp_path: Path, picture: Any, layout: str) -> None:
        inferred = infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, Given(size=(64, 48)), picture=picture)
        assert inferred.config.input.layout == layout
        assert "input.layout" not in inferred.assumptions

    def test_channels_that_nothing_tells_are_an_assumption(self, tmp_path: Path) -> None:
        picture = (None, None, None, None)
        inferred = infer(tmp_path, {"out": ((1, 5), ["Softmax"])}, Given(size=(64, 48)), picture=picture)
        assert inferred.config.input.layout == "NCHW"
        assert "input.layout" in inferred.assumptions

    def test_a_detector_of_open_size(self, tmp_path: Path) -> None:
        outputs: dict[str, Any] = {"output": (("n", "rows", 8), YOLOX[1])}
        picture = ("n", 3, "h", "w")
        chosen = Given(family="yolox", size=(64, 64))
        assert infer(tmp_path, outputs, chosen, picture=picture).config.family == "yolox"


class TestLabels:
    OUTPUTS: dict[str, Any] = {"out": ((1, 3), ["Softmax"])}  # noqa: RUF012

    def test_of_the_metadata(self, tmp_path: Path) -> None:
        inferred = infer(tmp_path, self.OUTPUTS, metadata=ULTRALYTICS)
        assert inferred.config.labels == ["cat", "dog's", "o{w}l, big"]
        assert "labels" not in inferred.assumptions
        assert inferred.config.licence == ULTRALYTICS["license"]

    def test_without_names_only_numbers_are_known(self, tmp_path: Path) -> None:
        inferred = infer(tmp_path, self.OUTPUTS)
        assert inferred.config.labels == ["class 0", "class 1", "class 2"]
        assert "labels" in inferred.assumptions

    def test_of_another_number_are_not_taken(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("a\nb\n")
        inferred = infer(tmp_path, self.OUTPUTS)
        assert len(inferred.config.labels) == 3
        assert "2 labels" in inferred.assumptions["labels"]
        with pytest.raises(ImportRefused, match="3 labels, found 2"):
            infer(tmp_path, self.OUTPUTS, Given(labels=tmp_path / "labels.txt"))

    def test_given_ones_come_first(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("x\ny\nz\n")
        inferred = infer(tmp_path, self.OUTPUTS, Given(labels=tmp_path / "mine"), metadata=ULTRALYTICS)
        assert inferred.config.labels == ["x", "y", "z"]
        assert sources(inferred)["labels"] == "given"

    def test_an_open_number_needs_them(self, tmp_path: Path) -> None:
        outputs: dict[str, Any] = {"out": ((1, "classes"), ["Softmax"])}
        with pytest.raises(ImportRefused, match="--labels"):
            infer(tmp_path, outputs)
        (tmp_path / "labels.txt").write_text("a\nb\n")
        assert infer(tmp_path, outputs).config.labels == ["a", "b"]

    @pytest.mark.timeout(10)
    def test_a_huge_number_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="4000000000 labels"):
            infer(tmp_path, {"out": ((1, 4_000_000_000), ["Softmax"])})

    def test_that_no_json_can_hold_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused):
            infer(tmp_path, self.OUTPUTS, metadata=ULTRALYTICS | {"names": r"['\ud800', 'b', 'c']"})


class TestFiles:
    def test_bytes_of_others_are_named(self, tmp_path: Path) -> None:
        for name in ("best.pt", "best.onnx"):
            (tmp_path / name).write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF" + bytes(100))
            with pytest.raises(ImportRefused, match=r"PyTorch.*export it to ONNX"):
                infer_config(tmp_path / name)

    def test_a_truncated_graph(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(code_graph(1).SerializeToString()[:200])
        with pytest.raises(ImportRefused, match="truncated"):
            infer_config(tmp_path / "m.onnx")

    def test_missing_external_data(self, tmp_path: Path) -> None:
        import onnx

        model = code_graph(1, bytes_of_ballast=1 << 16)
        onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data")
        assert infer_config(tmp_path / "m.onnx").config.family == "classifier"
        (tmp_path / "m.onnx.data").unlink()
        with pytest.raises(ImportRefused, match=r"m\.onnx\.data is missing"):
            infer_config(tmp_path / "m.onnx")


class TestMarks:
    def test_every_assumption_is_in_the_config_with_its_reason(self, tmp_path: Path) -> None:
        inferred = infer(tmp_path, {"output": YOLOX})
        assumed = {
            finding.field: finding.why for finding in inferred.findings if finding.source == "assumption"
        }
        assert json.loads(inferred.text())["inferred"] == assumed == inferred.assumptions
        assert {"input.colour_order", "input.scale", "input.resize", "thresholds.score"} <= assumed.keys()
        assert not {"input.width", "family", "output.names"} & assumed.keys()
        assert parse_config(inferred.text()) == inferred.config

    def test_what_is_assumed_of_a_detector_is_the_catalogues(self, tmp_path: Path) -> None:
        for outputs in ({"output": YOLOX}, NANODET, {"o": FASTESTDET}, ULTRAFACE):
            config = infer(tmp_path, outputs).config
            known = known_config(config.family)
            assert known is not None
            for field in ("colour_order", "resize", "pad", "scale", "mean", "std"):
                assert getattr(config.input, field) == getattr(known[0].input, field)
            assert config.thresholds == known[0].thresholds
            assert config.output.parameters == known[0].output.parameters

    def test_an_import_tells_what_nobody_has_checked(self, tmp_path: Path) -> None:
        folder = tmp_path / "code" / "v1"
        folder.mkdir(parents=True)
        (folder / "weights.onnx").write_bytes(code_graph(1).SerializeToString())
        inferred = infer_config(folder / "weights.onnx")
        (folder / "config.json").write_text(inferred.text())
        imported = bring(tmp_path / "home", folder)
        assert imported.unreviewed == tuple(inferred.assumptions)
        assert "input.scale" in imported.unreviewed
        reviewed = json.loads(inferred.text())
        del reviewed["inferred"]
        shutil.copytree(folder, tmp_path / "code" / "v2")
        (tmp_path / "code" / "v2" / "config.json").write_text(json.dumps(reviewed))
        assert bring(tmp_path / "home", tmp_path / "code" / "v2", Wanted()).unreviewed == ()
