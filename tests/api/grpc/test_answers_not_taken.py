"""Answers that nobody takes: what is held for them is let go in time, so that others are answered."""

from __future__ import annotations

from typing import Any

import pytest

from api.protos import modelmora_pb2, predictor_pb2
from tests.api.grpc.frames import message, wire
from tests.api.grpc.served import served

pytestmark = pytest.mark.anyio

BATCH = modelmora_pb2.BatchRequest(
    requests=[modelmora_pb2.EmbeddingRequest(model_name="m", image_data=bytes(5_000))] * 10
)
PICTURE = predictor_pb2.PredictRequest(image=bytes(5_000), model="m")


@pytest.mark.parametrize(
    ("method", "sent", "end"),
    [
        ("/ModelInference/GenerateBatch", message(BATCH.SerializeToString()), True),
        ("/okawari.v1.Predictor/PredictStream", message(PICTURE.SerializeToString()) * 8, False),
    ],
)
async def test_what_is_held_for_answers_that_nobody_takes_is_let_go_in_time(
    method: str, sent: bytes, end: bool
) -> None:
    few: dict[str, Any] = {"buffered": 60_000, "max_body_bytes": 60_000, "request_timeout": 0.3}
    async with served("m:v1", **few) as one, wire(one.port, window=0) as line:
        line.call(method)
        line.send(sent[:16_384])
        for at in range(16_384, len(sent), 16_384):
            line.send(sent[at : at + 16_384], end=end and at + 16_384 >= len(sent))
        await one.until(lambda: one.counted.codes() == ["DEADLINE_EXCEEDED"])
        assert one.bodies.peak > 30_000
        assert one.bodies.held == 0
        one.patient()
        assert (await one.predict(bytes(50_000))).model_version == "v1"
