"""Labels in a file of the version: read, bounded, hashed, and refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.errors import VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from models_import.candidates import Wanted, candidates, open_onnx
from models_import.errors import ImportRefused
from models_import.validation import check_config_file
from runners.label_file import read_label_file
from tests.runners.graphs import CLASSIFIER, constant_graph, load
from tests.runners.runs import PICTURE

GRAPH = constant_graph({"scores": np.array([0.5, 0.25, 0.125])})


def _config(file: str) -> dict[str, Any]:
    return CLASSIFIER | {"labels": file}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "cat\ndog\ncow\n\n"),
        ("labels.txt", "\ufeffcat\r\ndog\r\ncow"),
        ("labels.json", '["cat", "dog", "cow"]'),
        ("labels.json", '{"1": "dog", "0": "cat", "2": "cow"}'),
        ("config.hf.json", '{"model_type": "vit", "id2label": {"1": "dog", "0": "cat", "2": "cow"}}'),
    ],
    ids=["lines", "of windows", "list", "by number", "transformers"],
)
def test_answers_have_the_labels_of_the_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    runner = load(tmp_path, GRAPH, _config(name))
    (answer,) = runner.predict([PICTURE], Options()).items
    assert [each.label for each in answer.detections] == ["cat", "dog", "cow"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.txt", b"caf\xe9\n", "one label a line in UTF-8"),
        ("labels.txt", b"x" * 201, "201 characters; allowed are 100000 labels of 200"),
        ("labels.txt", b"a\n" * 100_001, "100001 labels"),
        ("labels.json", b"{", "JSON is expected"),
        ("labels.json", b"[1]", "a list of labels"),
        ("labels.json", b'{"1": "a"}', "the keys should be 0 to 0"),
        ("labels.json", b'{"id2label": 5}', "a list of labels"),
    ],
    ids=range(7),
)
def test_a_file_that_holds_no_labels_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadManifest, match=words):
        read_label_file(tmp_path / name)
    with pytest.raises(VersionFailed, match=words):
        load(tmp_path, GRAPH, _config(name))


def test_a_config_names_a_file_inside_the_version(tmp_path: Path) -> None:
    config = parse_config(json.dumps(_config("labels.txt")))
    assert (config.labels, config.labels_file) == ([], "labels.txt")
    assert ("labels", "labels.txt") in config.named_files
    with pytest.raises(BadManifest, match=r"config.json: labels: .*inside the version's folder"):
        parse_config(json.dumps(_config("../labels.txt")))
    with pytest.raises(BadManifest, match=r"config.json: labels: "):
        parse_config(json.dumps(CLASSIFIER | {"labels": 5}))
    with pytest.raises(VersionFailed, match=r"labels.txt: no regular file"):
        load(tmp_path, GRAPH, _config("labels.txt"))


def test_an_import_takes_the_file_along(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(GRAPH.SerializeToString())
    config = tmp_path / "configs" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(_config("labels.txt")))
    wanted = Wanted("thing", "v1", config)
    with pytest.raises(ImportRefused, match=r"labels: labels.txt is not in the version's folder"):
        check_config_file(open_onnx(tmp_path / "m.onnx", wanted), tmp_path)
    (config.parent / "labels.txt").write_text("a\nb\nc\n")
    opened = open_onnx(tmp_path / "m.onnx", wanted)
    assert opened.files["labels.txt"] == config.parent / "labels.txt"
    assert check_config_file(opened, tmp_path).labels_file == "labels.txt"
    (config.parent / "labels.txt").write_text("")
    with pytest.raises(ImportRefused, match="needs at least one"):
        check_config_file(opened, tmp_path)
    assert candidates(tmp_path / "m.onnx", wanted)
