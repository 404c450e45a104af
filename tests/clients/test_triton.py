"""tritonclient, unchanged, by all its four clients: what each of them reads in our answers.

A test is named by the rule that it shows: R, B and M are told over HTTP, G over gRPC; both wires carry the
same data, so that most rules are asked of all four clients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.open_inference.typed_model import CONSTANTS
from tests.builders import code_of, score_of
from tests.clients.conftest import PICTURE, Served, home_of, run, told_by
from tests.e2e.harness import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

KINDS = ["http", "http.aio", "grpc", "grpc.aio"]
CODES = {
    "400": "StatusCode.INVALID_ARGUMENT",
    "404": "StatusCode.NOT_FOUND",
    "409": "StatusCode.FAILED_PRECONDITION",
    "501": "StatusCode.UNIMPLEMENTED",
    "503": "StatusCode.UNAVAILABLE",
}
#: Outputs of `types`: one of every datatype, with values at its limits.
TYPES = {name: value for name, value in CONSTANTS.items() if name != "wide"}
Told = dict[str, Any]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the four clients asks."""
    return str(request.param)


@pytest.fixture(scope="module")
def told(kind: str, served: Served) -> Told:
    """Everything that this client was answered."""
    return told_by("triton", "triton.py", kind, served.at(kind), PICTURE, ",".join(TYPES))


def refused(outcome: Any, kind: str, status: str) -> str:
    """The message of an error that came as the client's own kind of error, with this status."""
    assert set(outcome) == {"raised", "status", "message"}, outcome
    assert outcome["raised"] == "InferenceServerException"
    assert outcome["status"] == (CODES[status] if kind.startswith("grpc") else status)
    return str(outcome["message"])


def scores(answer: Any) -> list[float]:
    """The graph's own output."""
    assert "outputs" in answer, answer
    return list(answer["outputs"]["scores"]["data"])


def expected(pictures: int) -> list[float]:
    """What m:v2 gives for this many pictures."""
    return [score_of(2), 0.0] * pictures


def test_r1_the_server_is_live(told: Told) -> None:
    assert told["live"] is True


def test_r2_the_server_is_ready(told: Told) -> None:
    assert told["ready"] is True


def test_r3_a_model_is_ready_with_and_without_version(told: Told) -> None:
    assert [told[f"{which}version ready"] for which in ("", "plain ")] == [True, True]
    assert told["model ready"] is True


@pytest.mark.parametrize("which", ["old version", "unknown version", "unknown model"])
def test_r3_g10_what_does_not_serve_is_not_ready(told: Told, which: str) -> None:
    assert told[f"{which} ready"] is False


def test_r4_server_metadata_names_the_extensions(told: Told) -> None:
    found = told["server metadata"]
    assert found["name"] == "okawari"
    assert found["version"]
    offered = {"binary_tensor_data", "model_repository", "model_configuration", "statistics"}
    assert offered <= set(found["extensions"])


def test_r5_model_metadata_lists_the_graphs_tensors_and_the_picture_way(told: Told) -> None:
    found = told["model metadata"]
    assert found == told["version metadata"]
    assert found["name"] == "m"
    assert found["platform"]
    assert "v2" in found["versions"]
    assert [(each["name"], each["datatype"]) for each in found["inputs"]] == [("image", "FP32")]
    assert [int(side) for side in found["inputs"][0]["shape"]] == [-1, 3, 32, 32]
    assert [(each["name"], each["datatype"]) for each in found["outputs"]] == [("scores", "FP32")]


def test_r5_unknown_models_and_versions_have_no_metadata(told: Told, kind: str) -> None:
    assert "nobody" in refused(told["unknown metadata"], kind, "404")
    assert "v9" in refused(told["unknown version metadata"], kind, "404")


def test_r6_r7_infer_answers_with_the_version_used(told: Told) -> None:
    found = told["infer"]
    assert scores(found) == expected(2)
    assert found["outputs"]["scores"]["shape"] == [2, 2]
    assert found["datatypes"] == {"scores": "FP32"}
    assert (found["model_name"], found["model_version"]) == ("m", "v2")


def test_r7_digest_and_generation_stand_in_the_parameters(told: Told) -> None:
    parameters = told["infer"]["parameters"]
    assert set(parameters) >= {"digest", "generation"}


def test_r8_the_callers_id_comes_back(told: Told) -> None:
    assert told["infer"]["id"] == "one"


def test_r9_only_the_outputs_asked_for_are_given(told: Told, kind: str) -> None:
    assert list(told["infer outputs"]["outputs"]) == ["scores"]
    assert list(told["pictures named"]["outputs"]) == ["labels", "boxes"]
    assert "nothing" in refused(told["unknown output"], kind, "400")


def test_r10_a_batch_of_one_and_of_two(told: Told) -> None:
    assert scores(told["infer one"]) == expected(1)
    assert scores(told["infer"]) == expected(2)


def test_r13_r14_errors_carry_status_and_reason(told: Told, kind: str) -> None:
    assert "nobody" in refused(told["unknown model"], kind, "404")
    assert "picture" in refused(told["unknown input"], kind, "400")
    assert "[-1, 3, 32, 32]" in refused(told["wrong shape"], kind, "400")
    assert "FP32" in refused(told["wrong datatype"], kind, "400")


def test_r15_a_version_is_found_or_refused_never_replaced(told: Told, kind: str) -> None:
    assert told["infer version"]["model_version"] == told["infer plain version"]["model_version"] == "v2"
    assert "v9" in refused(told["unknown version"], kind, "404")
    assert "v1" in refused(told["old version"], kind, "409" if kind.startswith("grpc") else "400")


@pytest.mark.parametrize("way", ["infer", "infer json", "infer json in", "infer json out"])
def test_b1_b3_b5_tensors_travel_as_bytes_or_as_json(told: Told, kind: str, way: str) -> None:
    assert scores(told[way]) == expected(2)
    if kind.startswith("http"):
        assert told[way]["binary"] == {"scores": way in ("infer", "infer json in")}


def constant(answer: Any, name: str) -> Any:
    """An output of `types` as the client read it."""
    assert "outputs" in answer, answer
    dtype = TYPES[name].dtype
    found = np.array(answer["outputs"][name]["data"], dtype).reshape(answer["outputs"][name]["shape"])
    assert answer["outputs"][name]["dtype"] == str(dtype)
    return found


@pytest.mark.parametrize("name", TYPES)
def test_r11_b2_b4_g6_every_datatype_is_read_from_its_bytes(told: Told, name: str) -> None:
    found = constant(told[f"type {name}"], name)
    assert np.array_equal(found, TYPES[name], equal_nan=name == "nan")
    assert told[f"type {name}"]["binary"][name] is True
    assert told[f"type {name}"]["datatypes"][name] == ("FP32" if name == "nan" else name.upper())


@pytest.mark.parametrize("name", TYPES)
def test_r11_every_datatype_is_read_from_json_but_those_that_it_cannot_tell(
    told: Told, kind: str, name: str
) -> None:
    answer = told[f"json {name}"]
    if kind.startswith("http") and name in ("fp16", "nan"):
        assert "binary" in refused(answer, kind, "400")
    else:
        assert np.array_equal(constant(answer, name), TYPES[name], equal_nan=name == "nan")
        assert answer["binary"][name] is kind.startswith("grpc")


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_b6_packed_bodies_are_understood(told: Told, packed: str) -> None:
    assert scores(told[f"infer {packed}"]) == expected(200)


def test_b7_pictures_are_answered_as_predict_answers_them(told: Told, served: Served) -> None:
    outputs = told["pictures"]["outputs"]
    found = served.detections()
    assert outputs["num_detections"]["data"] == [len(found)] * 2
    assert outputs["boxes"]["shape"] == [2, len(found), 4]
    assert outputs["labels"]["data"] == [each["label"] for each in found] * 2
    assert outputs["label_ids"]["data"] == [each["label_id"] for each in found] * 2
    wanted = [side for each in found for side in each["bbox"]] * 2
    assert outputs["boxes"]["data"] == pytest.approx(wanted, abs=1e-4)
    assert outputs["scores"]["data"] == pytest.approx([each["score"] for each in found] * 2, abs=1e-4)
    types = {"num_detections": "INT32", "boxes": "FP32", "scores": "FP32", "label_ids": "INT32"}
    assert told["pictures"]["datatypes"] == types | {"labels": "BYTES"}


def test_b7_config_tells_how_pictures_are_sent(told: Told, kind: str) -> None:
    found = told["picture config"]
    parameters = (found["config"] if kind.startswith("grpc") else found)["parameters"]
    assert parameters["picture_input"] == {"string_value": "image"}
    assert "boxes" in parameters["picture_outputs"]["string_value"]


def test_b7_metadata_tells_it_too_where_the_client_knows_properties(told: Told, kind: str) -> None:
    properties = told["picture metadata"].get("properties")
    if kind.startswith("http"):
        assert properties["picture_input"] == "image"
        assert "boxes" in properties["picture_outputs"]
    else:
        assert properties is None, "Triton's own messages have none"


def test_b7_threshold_and_most_are_parameters(told: Told, kind: str) -> None:
    assert told["pictures few"]["outputs"]["num_detections"]["data"] == [1, 1]
    assert "threshold" in refused(told["pictures bad threshold"], kind, "400")


def test_b7_a_classifier_takes_pictures_under_any_name(told: Told) -> None:
    outputs = told["picture classes"]["outputs"]
    assert code_of(outputs["scores"]["data"][0]) == 2
    assert outputs["labels"]["data"][0] == "code"


def test_b7_what_is_no_picture_is_the_callers_fault(told: Told, kind: str) -> None:
    assert refused(told["no pictures"], kind, "400")


def test_requests_need_not_be_waited_for(told: Told, kind: str) -> None:
    if kind in ("http", "grpc"):
        assert scores(told["async infer"]) == expected(2)


def index(told: Told, question: str) -> dict[tuple[str, str], str]:
    """State by name and version."""
    found = told[question]
    listed = found["models"] if isinstance(found, dict) else found
    return {(each["name"], each.get("version", "")): each["state"] for each in listed}


def test_m1_m4_m5_the_index_tells_every_version_and_its_state(told: Told) -> None:
    states = index(told, "index")
    assert states[("m", "v2")] == states[("shapes", "v2")] == states[("spare", "v1")] == "READY"
    assert states[("m", "v1")] == "UNAVAILABLE"


def test_m2_m3_m5_a_model_is_unloaded_and_loaded_again(told: Told, kind: str) -> None:
    assert told["unload"] is None
    assert told["ready after unload"] is False
    # It may still end its last answer.
    assert index(told, "index after unload")[("spare", "v1")] in {"UNLOADING", "UNAVAILABLE"}
    assert "spare" in refused(told["infer after unload"], kind, "503")
    assert told["load"] is None
    assert told["ready after load"] is True


def test_m2_what_cannot_be_loaded_is_refused_with_a_reason(told: Told, kind: str) -> None:
    assert "nobody" in refused(told["load unknown"], kind, "404")
    assert "nobody" in refused(told["unload unknown"], kind, "404")
    assert "config" in refused(told["load config"], kind, "400")
    assert refused(told["load files"], kind, "400")


@pytest.mark.parametrize("question", ["config", "version config"])
def test_6e_the_config_lists_the_graphs_tensors(told: Told, kind: str, question: str) -> None:
    found = told[question]
    config = found["config"] if kind.startswith("grpc") else found
    assert config["name"] == "m"
    ((given,), (made,)) = config["input"], config["output"]
    assert (given["name"], given["data_type"]) == ("image", "TYPE_FP32")
    assert [int(side) for side in given["dims"]] == [-1, 3, 32, 32]
    assert (made["name"], made["data_type"]) == ("scores", "TYPE_FP32")
    assert int(config.get("max_batch_size", 0)) == 0


def test_6e_nobody_has_no_config(told: Told, kind: str) -> None:
    assert "nobody" in refused(told["unknown config"], kind, "404")


def test_6e_statistics_count_what_was_answered(told: Told, kind: str) -> None:
    (found,) = told["statistics of a version"]["model_stats"]
    assert (found["name"], found["version"]) == ("m", "2")
    assert int(found["inference_stats"]["success"]["count"]) >= 10
    assert {each["name"] for each in told["statistics of one"]["model_stats"]} == {"m"}
    assert {"m", "shapes"} <= {each["name"] for each in told["statistics"]["model_stats"]}
    assert "nobody" in refused(told["statistics of nobody"], kind, "404")


SHARED = ["shared memory", "region", "no region", "device status", "device region", "no device region"]
SETTINGS = ["trace settings", "trace update", "log settings", "log update"]


@pytest.mark.parametrize("question", [*SHARED, *SETTINGS])
def test_extensions_that_are_not_offered_are_refused_with_the_reason(
    told: Told, kind: str, question: str
) -> None:
    message = refused(told[question], kind, "501")
    assert ("shared memory is not supported" in message) == (question in SHARED)


@pytest.mark.parametrize("question", ["shared input", "shared output"])
def test_tensors_in_shared_memory_are_refused_with_the_reason(told: Told, kind: str, question: str) -> None:
    assert "send tensor data" in refused(told[question], kind, "400")


def test_g1_a_stream_is_answered_in_order_and_an_error_does_not_end_it(told: Told, kind: str) -> None:
    if not kind.startswith("grpc"):
        return
    first, failed, picture, last, *more = told["stream"]
    assert more == ([0] if kind == "grpc" else [])
    assert [each["id"] for each in (first, picture, last)] == ["0", "2", "3"]
    assert [each["model_version"] for each in (first, picture, last)] == ["v2"] * 3
    assert scores(first) == scores(last) == expected(2)
    assert picture["outputs"]["labels"]["data"]
    assert "nobody" in failed["error"]


def test_b7_a_batch_of_one_picture_each_is_that_many_pictures(told: Told) -> None:
    usual, found = (told[question]["outputs"] for question in ("pictures", "batch of pictures"))
    assert found == usual


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_the_guides_lines_work_as_they_stand(served: Served, tmp_path: Path, wire: str) -> None:
    parts = (ROOT / "docs" / "guides" / "clients.md").read_text().split("```python\n")[1:]
    (code,) = [block for part in parts if "tritonclient" in (block := part.partition("```")[0])]
    assert "127.0.0.1:3000" in code
    code = code.replace("127.0.0.1:3000", served.at(wire))
    code = code.replace("tritonclient.http", f"tritonclient.{wire}")
    (tmp_path / "guide.py").write_text(code)
    told = run(home_of("triton") / "bin" / "python", tmp_path / "guide.py", cwd=ROOT).stdout
    assert all(each["label"] in told for each in served.detections())
