"""What an export says of itself: untrusted text, read within bounds and never evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models_import.errors import ImportRefused
from models_import.export_metadata import (
    ExportMetadata,
    is_transformers_config,
    parse_names,
    read_labels,
    read_metadata,
)
from models_import.onnx_graph import read_graph
from tests.models_import.exports import ULTRALYTICS, export

HERE = Path("m.onnx")
#: As `save_pretrained` of a ViT processor writes it.
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "image_processor_type": "ViTImageProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": 240, "width": 320},
}


CROP = {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224}


def said(folder: Path, metadata: dict[str, str] | None = None) -> ExportMetadata:
    path = export(folder / "m.onnx", {"out": ((1, 3), ["Softmax"])}, metadata=metadata)
    return read_metadata(read_graph(path), path)


class TestNames:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("{0: 'person', 1: 'dog'}", ["person", "dog"]),
            ('{"0": "person", "1": "dog"}', ["person", "dog"]),
            ("{1: 'b', 0: 'a'}", ["a", "b"]),
            ("['a', 'b',]", ["a", "b"]),
            ("{0: \"it's\", 1: 'a, 2: {b}', 2: '\\u00e9\\''}", ["it's", "a, 2: {b}", "é'"]),
            ("{0: '\\d'}", ["\\d"]),
            ("{}", []),
        ],
    )
    def test_flat_dicts_and_lists_are_read(self, text: str, labels: list[str]) -> None:
        assert parse_names(text, HERE) == labels

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "person",
            "{0: __import__('os').system('true')}",
            "{0: 'a' * 1000000000}",
            "{0: f'{1}'}",
            "{0: ['a']}",
            "{0: 'a' 1: 'b'}",
            "{0: 'a', 2: 'b'}",
            "{0: 'a\n'}",
            "{0: '\\x'}",
            "{-1: 'a'}",
            "[" * 100_000 + "]" * 100_000,
            "{" + "0:" * 100_000 + "}",
            "{0: '" + "a" * 201 + "'}",
            "{0: '" + "a" * 1_000_000 + "'}",
            "[" + "'a'," * 100_001 + "]",
            "{0: '" + "\\" * 99_999 + "}",
        ],
        ids=range(17),
    )
    @pytest.mark.timeout(10)
    def test_anything_else_is_refused_at_once(self, text: str) -> None:
        with pytest.raises(ImportRefused, match=r"^m\.onnx: names in the graph's metadata"):
            parse_names(text, HERE)

    @pytest.mark.slow
    def test_no_more_labels_are_read_than_are_allowed(self) -> None:
        with pytest.raises(ImportRefused, match="at most 100000 labels"):
            parse_names("[" + "''," * 1_000_000 + "]", HERE)


class TestUltralytics:
    def test_its_keys_are_read(self, tmp_path: Path) -> None:
        metadata = said(tmp_path, ULTRALYTICS)
        assert (metadata.exporter, metadata.task) == ("Ultralytics", "classify")
        assert metadata.value("labels") == ["cat", "dog's", "o{w}l, big"]
        assert (metadata.value("input.width"), metadata.value("input.height")) == (64, 48)
        assert metadata.value("licence").startswith("AGPL-3.0")

    def test_its_preprocessing_is_an_assumption(self, tmp_path: Path) -> None:
        metadata = said(tmp_path, ULTRALYTICS)
        assert metadata.value("input.resize") == {"mode": "centre_crop", "kernel": "bilinear"}
        assert metadata.findings["input.mean"].source == "assumption"
        assert "input.scale" not in said(tmp_path, ULTRALYTICS | {"task": "detect"}).findings

    @pytest.mark.parametrize("size", ["", "640x480", "[1, 2, 3]", "[" * 50, "99999999"])
    def test_another_imgsz_tells_nothing(self, tmp_path: Path, size: str) -> None:
        assert "input.width" not in said(tmp_path, ULTRALYTICS | {"imgsz": size}).findings

    def test_names_of_others_are_read_too(self, tmp_path: Path) -> None:
        metadata = said(tmp_path, {"names": "['a']", "stride": "32"})
        assert (metadata.exporter, metadata.value("labels")) == ("YOLOv5", ["a"])


@pytest.mark.parametrize(
    ("pixels", "scale", "mean"),
    [
        ("NominalRange_0_255", 1.0, None),
        ("Normalized_0_1", 1 / 255, None),
        ("NORMALIZED_1_1", 1 / 127.5, [1.0, 1.0, 1.0]),
    ],
)
def test_image_properties_of_the_standard(
    tmp_path: Path, pixels: str, scale: float, mean: list[float] | None
) -> None:
    metadata = said(tmp_path, {"image.bitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": pixels})
    assert metadata.value("input.colour_order") == "BGR"
    assert (metadata.value("input.scale"), metadata.value("input.mean")) == (scale, mean)
    assert {finding.source for finding in metadata.findings.values()} == {"metadata"}
    # Black and white lie at the ends of the range.
    low, high = (pixel * scale - (mean or [0.0])[0] for pixel in (0, 255))
    assert (round(low), round(high)) in {(0, 255), (0, 1), (-1, 1)}


class TestTransformers:
    def beside(self, folder: Path, config: Any = None, processor: Any = None) -> ExportMetadata:
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        if processor is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        return said(folder)

    def test_labels_and_preprocessing_are_read(self, tmp_path: Path) -> None:
        config = {"model_type": "vit", "id2label": {"1": "dog", "0": "cat"}}
        metadata = self.beside(tmp_path, config, PROCESSOR)
        assert metadata.value("labels") == ["cat", "dog"]
        assert (metadata.value("input.width"), metadata.value("input.height")) == (320, 240)
        assert metadata.value("input.resize") == {"mode": "stretch", "kernel": "bicubic"}
        assert metadata.value("input.scale") == pytest.approx(1 / 255)
        assert metadata.value("input.std") == [0.25] * 3
        assert {finding.source for finding in metadata.findings.values()} == {"metadata"}

    def test_they_lie_above_a_folder_onnx(self, tmp_path: Path) -> None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        (tmp_path / "onnx").mkdir()
        assert said(tmp_path / "onnx").value("input.std") == [0.25] * 3
        (tmp_path / "onnx" / "config.json").write_text('{"format": 1, "family": "embedder"}')
        assert said(tmp_path / "onnx").value("input.std") == [0.25] * 3
        (tmp_path / "other").mkdir()
        assert said(tmp_path / "other").findings == {}

    @pytest.mark.parametrize(
        ("change", "source", "mode"),
        [
            (CROP, "metadata", "shortest_edge"),
            (CROP | {"size": {"shortest_edge": 256}}, "metadata", "shortest_edge"),
            (CROP | {"size": {"shortest_edge": 200}}, "assumption", "centre_crop"),
            (CROP | {"resample": "bicubic"}, "metadata", "shortest_edge"),
            (CROP | {"resample": "sharp"}, "assumption", "shortest_edge"),
            ({"size": {"longest_edge": 1024}, "pad_size": 1024}, "metadata", "longest_edge"),
            ({"image_processor_type": "Owlv2ImageProcessor"}, "metadata", "square"),
            ({"size": {"shortest_edge": 224}}, "assumption", "stretch"),
            ({"size": 224}, "metadata", "stretch"),
            ({"resample": 5}, "assumption", "stretch"),
            ({"resample": [3]}, "assumption", "stretch"),
        ],
    )
    def test_a_resize_that_has_no_equal_is_an_assumption(
        self, tmp_path: Path, change: dict[str, Any], source: str, mode: str
    ) -> None:
        resize = self.beside(tmp_path, None, PROCESSOR | change).findings["input.resize"]
        assert (resize.source, resize.value["mode"]) == (source, mode)

    @pytest.mark.parametrize(
        ("resample", "kernel"),
        [
            (0, "nearest"),
            (2, "bilinear"),
            ("bicubic (3)", "bicubic"),
            ("bicubic (Pillow 3, antialiased)", "bicubic"),
            ("PILImageResampling.LANCZOS", "lanczos"),
            ("2", "bilinear"),
            ("Resampling 4", "box"),
        ],
    )
    def test_a_kernel_may_be_a_number_or_words(self, tmp_path: Path, resample: Any, kernel: str) -> None:
        resize = self.beside(tmp_path, None, PROCESSOR | {"resample": resample}).findings["input.resize"]
        assert (resize.source, resize.value["kernel"]) == ("metadata", kernel)

    @pytest.mark.parametrize("resample", [5, -1, 3.0, True, "", "bicubic or bilinear", "2 or 3", "23", None])
    def test_a_kernel_that_is_not_told_is_assumed(self, tmp_path: Path, resample: Any) -> None:
        resize = self.beside(tmp_path, None, PROCESSOR | {"resample": resample}).findings["input.resize"]
        assert (resize.source, resize.value["kernel"]) == ("assumption", "bilinear")

    def test_what_it_does_not_do_is_left_out(self, tmp_path: Path) -> None:
        off = {"do_rescale": False, "do_normalize": False, "do_flip_channel_order": True}
        metadata = self.beside(tmp_path, None, PROCESSOR | off)
        assert (metadata.value("input.scale"), metadata.value("input.mean")) == (1.0, None)
        assert metadata.value("input.colour_order") == "BGR"

    @pytest.mark.parametrize(
        "processor",
        [
            [],
            "text",
            {"image_mean": [10**400, 1, 1], "image_std": [1, 1, 1]},
            {"image_mean": ["a", 1, 2]},
            {"image_mean": [1e400, 1, 1]},
        ],
    )
    def test_odd_files_tell_nothing_of_the_mean(self, tmp_path: Path, processor: Any) -> None:
        assert "input.mean" not in self.beside(tmp_path, None, processor).findings

    def test_deep_and_huge_files_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("[" * 400_000)
        (tmp_path / "preprocessor_config.json").write_text(" " * 1_000_001)
        assert said(tmp_path).findings == {}

    def test_labels_with_gaps_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="id2label: the keys should be 0 to 1"):
            self.beside(tmp_path, {"id2label": {"0": "a", "7": "b"}})

    def test_our_configs_are_not_theirs(self, tmp_path: Path) -> None:
        path = tmp_path / "config.json"
        path.write_text('{"format": 1, "family": "yolox"}')
        assert not is_transformers_config(path)
        path.write_text('{"architectures": ["ViT"]}')
        assert is_transformers_config(path)


class TestLabelsFile:
    def test_one_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\n\n")
        assert said(tmp_path).value("labels") == ["cat", "dog"]

    @pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a" * 1_000_001, b"a" * 201])
    def test_others_are_refused(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "names").write_bytes(data)
        with pytest.raises(ImportRefused, match="names"):
            read_labels(tmp_path / "names")
