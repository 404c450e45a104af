"""`okawari.v1.Predictor`: one picture, and what there is."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from api.grpc import predictor
from api.grpc.call_handler import Pictures
from api.http import schemas
from api.protos import predictor_pb2 as pb
from hotswap.errors import VersionFailed
from hotswap.predictions import Answer, Detection, Options, Picture, Prediction, Predictions, Timings
from tests.api.grpc.typed import Typed, picture, typed

pytestmark = pytest.mark.anyio


async def test_an_answer_has_what_was_found_and_who_found_it() -> None:
    async with typed("m:v1", codes={"v1": 5}) as served:
        call = served.pictures.Predict(picture("my id"))
        answer, beside = await call, dict(await call.trailing_metadata())
    assert beside["x-model-version"] == "v1"
    assert (answer.request_id, answer.model, answer.model_version) == ("my id", "m", "v1")
    assert (answer.model_digest, answer.generation, answer.task) == ("sha256:1", 1, "object-detection")
    (found,) = answer.detections
    assert (found.label, found.label_id, found.score, list(found.bbox)) == ("code", 5, 1.0, [])
    assert (list(answer.scores), list(answer.embedding)) == ([1.0], [5.0, 1.0])
    assert (answer.image.width, answer.image.height, answer.timings_ms.inference) == (8, 8, 1.0)


async def test_the_options_of_a_request_reach_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []
    async with typed("m:v1") as served:
        runner = served.world.loader.of("v1")
        plain = runner.predict

        def predict(pictures: list[Picture], options: Options) -> Predictions:
            seen.append(options)
            return plain(pictures, options)

        monkeypatch.setattr(runner, "predict", predict)
        await served.pictures.Predict(picture())
        await served.pictures.Predict(picture(threshold=0.0, max_detections=7))
        await served.pictures.Predict(
            picture(
                box_threshold=0.25,
                text_prompt="bird .",
                text_threshold=0.5,
                nms_threshold=0.75,
                points=[{"x": 0.5, "y": 0.25, "label": 1}],
                boxes=[{"x1": 0.0, "y1": 0.25, "x2": 0.5, "y2": 1.0}],
                top_k=3,
            )
        )
    assert seen == [
        Options(None, 100),
        Options(0.0, 7),
        Options(0.25, 100, "bird .", 0.5, 0.75, ((0.5, 0.25, 1),), ((0.0, 0.25, 0.5, 1.0),), 3),
    ]


@pytest.mark.parametrize(
    ("wrong", "code", "word"),
    [
        ({"image": b""}, "INVALID_ARGUMENT", "image:"),
        ({"threshold": 1.5}, "INVALID_ARGUMENT", "threshold:"),
        ({"threshold": float("nan")}, "INVALID_ARGUMENT", "threshold:"),
        ({"points": [{"x": 1.5}]}, "INVALID_ARGUMENT", "points:"),
        ({"mask_format": "gif"}, "INVALID_ARGUMENT", "mask_format:"),
        ({"max_detections": 0}, "INVALID_ARGUMENT", "max_detections:"),
        ({"max_detections": 1001}, "INVALID_ARGUMENT", "max_detections:"),
        ({"model": "x" * 200}, "INVALID_ARGUMENT", "model:"),
        ({"model": "nobody"}, "NOT_FOUND", "nobody"),
        ({"version": "9"}, "NOT_FOUND", "v9"),
    ],
)
async def test_what_is_wrong_with_a_request_is_its_status(
    wrong: dict[str, Any], code: str, word: str
) -> None:
    async with typed("m:v1") as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.pictures.Predict(picture(**wrong))
    assert refused.value.code() is getattr(grpc.StatusCode, code)
    assert word in (refused.value.details() or "")
    assert len(served.refused) == 1


def test_an_answer_has_the_fields_and_values_that_it_has_over_http() -> None:
    found = (Detection("dog", 7, 0.1 + 0.2, (0.1, 0.2, 0.3, 0.4)), Detection("none", -1, 0.25, None))
    answer = Answer(
        request_id="r",
        model="m",
        version="v3",
        digest="sha256:5",
        generation=4,
        task="object-detection",
        queue_ms=1.25,
        stages=Timings(1.0, 2.0, 3.0, 4.5),
        total_ms=12.125,
        predictions=(Prediction(found, "v3", 640, 480, embedding=np.array([0.5, 2.0], np.float32)),),
    )
    over_http = json.loads(schemas.predicted(answer).body)
    over_grpc = MessageToDict(
        predictor.response("r", answer),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    over_http["detections"][1]["bbox"] = []  # a list cannot be null
    for detection in over_grpc["detections"]:
        assert detection.pop("phrase") == ""
    assert over_grpc.pop("tensors") == {}
    over_grpc["generation"] = int(over_grpc["generation"])  # JSON of protobuf writes 64 bits as text
    assert over_grpc == over_http


@pytest.mark.parametrize(("left", "seconds"), [(None, 30.0), (5.0, 5.0), (100.0, 30.0)])
def test_a_picture_of_a_stream_is_due_when_its_caller_says_and_at_most_in_the_service_s_time(
    left: float | None, seconds: float
) -> None:
    class Caller:
        def time_remaining(self) -> float | None:
            return left

    pictures: Any = Pictures(cast(Any, None), 30.0, cast(Any, None))
    assert pictures.deadline(Caller()) - time.monotonic() == pytest.approx(seconds, abs=1)


async def models(served: Typed) -> pb.ListModelsResponse:
    """What there is."""
    found: pb.ListModelsResponse = await served.pictures.ListModels(pb.ListModelsRequest())
    return found


async def test_the_list_of_models_says_what_is_wanted_what_serves_and_why_the_rest_does_not() -> None:
    async with typed("m:v1", "other:v1", "other:v2") as served:
        served.world.loader.fails["v3"] = {"load": VersionFailed("no such operator")}
        served.world.source.add("m:v3")
        served.world.reconciler.wake()
        await served.until(lambda: served.world.reconciler.view.model("m").versions[-1].state == "failed")
        found = await models(served)
    assert (found.HasField("default"), [each.name for each in found.models]) == (False, ["m", "other"])
    first, other = found.models
    assert (first.target, first.serving, first.generation) == ("latest", "v1", 1)
    assert [(each.version, each.state) for each in first.versions] == [("v1", "serving"), ("v3", "failed")]
    assert (first.versions[1].reason, first.versions[0].HasField("reason")) == ("no such operator", False)
    assert [each.state for each in other.versions] == ["available", "serving"]
    assert first.versions[0].created.ToDatetime().year == 2024
    assert not first.versions[1].HasField("created")
    assert first.versions[0].size_bytes == 7
    assert first.versions[0].digest == "sha256:1"


async def test_a_wish_made_through_another_worker_is_told_at_once() -> None:
    async with typed("m:v1", "m:v2") as served:
        served.world.aim("m", "v1")
        (found,) = (await models(served)).models
    assert found.target == "v1"


async def test_a_model_of_which_nothing_serves_says_so_by_leaving_fields_out() -> None:
    async with typed() as served:
        served.world.loader.fails["v1"] = {"load": VersionFailed("no such operator")}
        served.world.source.add("m:v1")
        served.world.reconciler.wake()
        await served.until(
            lambda: "v1" in {tag.version for tag in served.world.reconciler.observed.backoff.failures}
        )
        (found,) = (await models(served)).models
    assert (found.HasField("serving"), found.HasField("generation")) == (False, False)
