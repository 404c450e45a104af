"""Streams over gRPC on the real service: the limit of their messages is the setting's."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from api.protos import predictor_pb2 as messages
from api.protos.predictor_pb2_grpc import PredictorStub
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_a_picture_that_is_too_large_for_a_stream_is_answered_by_a_unary_call(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_MAX_STREAM_MESSAGE_BYTES="2000").ready()
    small = messages.PredictRequest(image=picture(), model="m")
    large = messages.PredictRequest(image=picture(), model="m", request_id="r" * 2_000)
    with channel(service) as one:
        stub: Any = PredictorStub(one)
        replies = stub.PredictStream(iter([small, large]), timeout=LIMIT)
        assert next(replies).answer.model_version == "v1"
        with pytest.raises(grpc.RpcError) as ended:
            next(replies)
        refused: Any = ended.value
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(refused.trailing_metadata())["x-error-code"] == "body_too_large"
        assert "OKAWARI_MAX_STREAM_MESSAGE_BYTES" in refused.details()
        assert stub.Predict(large, timeout=LIMIT).model_version == "v1"
