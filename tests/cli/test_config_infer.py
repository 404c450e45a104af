"""`config infer`, and what `import` then says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import graph as code_graph
from tests.cli.conftest import Okawari
from tests.models_import.exports import ULTRALYTICS, export
from tests.runners.graphs import constant_graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "code" / "v1").mkdir(parents=True)
    path = tmp_path / "code" / "v1" / "weights.onnx"
    path.write_bytes(code_graph(7).SerializeToString())
    return path


def rows(table: str) -> dict[str, list[str]]:
    """The words of each row after its field."""
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()}


def test_a_config_beside_the_model_and_where_it_comes_from(okawari: Okawari, model: Path) -> None:
    done = okawari("config", "infer", model)
    table = rows(done.stdout)
    assert table["FIELD"] == ["VALUE", "FROM", "WHY"]
    assert table["family"][:2] == ["classifier", "graph"]
    assert table["input.width"][:2] == ["32", "graph"]
    assert table["input.colour_order"][:2] == ["RGB", "ASSUMPTION"]
    written = json.loads((model.parent / "config.json").read_text())
    marked = {field for field, words in table.items() if "ASSUMPTION" in words}
    assert written["inferred"].keys() == marked
    assert f"{len(marked)} assumptions" in done.stderr


def test_import_warns_until_the_marks_are_deleted(okawari: Okawari, model: Path) -> None:
    okawari("config", "infer", model)
    imported = okawari("import", model.parent)
    assert imported.stdout.startswith("imported code:v1 ")
    (warning,) = imported.stderr.splitlines()
    assert warning.startswith("okawari: warning: code:v1: ")
    assert "input.colour_order" in warning
    config = json.loads((model.parent / "config.json").read_text())
    config["inferred"] = {"input.mean": "not sure yet"}
    (model.parent / "config.json").write_text(json.dumps(config))
    (warning,) = okawari("import", model.parent, "--version", 2).stderr.splitlines()
    assert "input.mean" in warning
    assert "input.colour_order" not in warning
    del config["inferred"]
    (model.parent / "config.json").write_text(json.dumps(config))
    assert okawari("import", model.parent, "--version", 3).stderr == ""


def test_many_marks_are_cut(okawari: Okawari, model: Path) -> None:
    okawari("config", "infer", model)
    config = json.loads((model.parent / "config.json").read_text())
    config["inferred"] = {f"field{number}\n": "" for number in range(20)}
    (model.parent / "config.json").write_text(json.dumps(config))
    (warning,) = okawari("import", model.parent).stderr.splitlines()
    assert "and 8 more" in warning


def test_a_file_is_replaced_only_by_force(okawari: Okawari, model: Path) -> None:
    config = model.parent / "config.json"
    config.write_text("mine")
    assert "--force" in okawari("config", "infer", model, exit_code=1).stderr
    assert config.read_text() == "mine"
    okawari("config", "infer", model, "-o", model.parent / "other.json")
    assert config.read_text() == "mine"
    okawari("config", "infer", model, "--force")
    assert json.loads(config.read_text())["family"] == "classifier"


def test_the_file_of_transformers_is_named_and_read(okawari: Okawari, model: Path) -> None:
    theirs = model.parent / "config.json"
    theirs.write_text('{"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}')
    assert "transformers" in okawari("config", "infer", model, exit_code=1).stderr
    okawari("config", "infer", model, "-o", model.parent / "ours.json")
    assert json.loads((model.parent / "ours.json").read_text())["labels"] == ["cat", "dog"]
    assert "id2label" in theirs.read_text()


def test_what_the_caller_knows(okawari: Okawari, tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", {"out": (("n", 2), ["Add"])}, picture=("n", 3, "h", "w"))
    (tmp_path / "names").write_text("a\nb\n")
    given = ("--family", "classifier", "--size", "64x48", "--labels", tmp_path / "names")
    table = rows(okawari("config", "infer", path, *given).stdout)
    for field in ("family", "input.width", "input.height", "labels"):
        assert "given" in table[field]
    assert (table["input.width"][0], table["input.height"][0]) == ("64", "48")
    okawari("config", "infer", path, "--size", "64", exit_code=2)


def test_control_characters_do_not_reach_the_terminal(okawari: Okawari, tmp_path: Path) -> None:
    names = "{0: 'a\\x1b[31m', 1: 'b', 2: 'c'}"
    path = export(
        tmp_path / "m.onnx", {"o\x1bt": ((1, 3), ["Softmax"])}, metadata=ULTRALYTICS | {"names": names}
    )
    assert "\x1b" not in okawari("config", "infer", path).output
    assert json.loads((tmp_path / "config.json").read_text())["labels"][0] == "a\x1b[31m"


@pytest.mark.parametrize("name", ["best.pt", "best.onnx"])
def test_other_files_are_refused_in_one_line(okawari: Okawari, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF" + bytes(100))
    refused = okawari("config", "infer", tmp_path / name, exit_code=1)
    assert refused.stderr.count("\n") == 1
    assert "export" in refused.stderr
    assert not (tmp_path / "config.json").exists()


def test_a_graph_of_no_family_writes_nothing(okawari: Okawari, tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", {"output0": ((1, 84, 8400), ["Concat"])}, picture=(1, 3, 640, 640))
    refused = okawari("config", "infer", path, exit_code=1)
    assert "output0 [1, 84, 8400]" in refused.stderr
    assert not (tmp_path / "config.json").exists()


def test_the_graph_is_not_run(okawari: Okawari, tmp_path: Path) -> None:
    """Of operators that do not exist the interface is read all the same."""
    import numpy as np

    model = constant_graph({"scores": np.array([0.5, 0.25, 0.125])})
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    okawari("config", "infer", tmp_path / "m.onnx")
