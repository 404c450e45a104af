"""Load over the Open Inference Protocol on gRPC, from kept and from fresh connections."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from api.protos import inference_pb2 as pb
from tests import builders
from tests.e2e.harness import Service
from tests.e2e.load import Load, Shot
from tests.e2e.pictures import picture
from tests.e2e.sizes import PAUSE

_TIMEOUT = 60
_INFER = "/inference.GRPCInferenceService/ModelInfer"
Input = pb.ModelInferRequest.InferInputTensor
_CHAPTER_6 = Path(__file__).resolve().parents[2] / "docs/06-runtime.md"


def documented_policy() -> str:
    """The service configuration of chapter 6, for callers who must not notice that a process ends."""
    found = re.search(r"```json\n(.*?)```", _CHAPTER_6.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def pictures(model: str = "m") -> pb.ModelInferRequest:
    """One picture."""
    contents = pb.InferTensorContents(bytes_contents=[picture()])
    image = Input(name="image", datatype="BYTES", shape=[1], contents=contents)
    return pb.ModelInferRequest(model_name=model, inputs=[image])


def tensors(model: str = "m") -> pb.ModelInferRequest:
    """The graph's own input, raw."""
    image = Input(name="image", datatype="FP32", shape=[1, 3, 32, 32])
    data = np.full(3072, 0.5, "<f4").tobytes()
    return pb.ModelInferRequest(model_name=model, inputs=[image], raw_input_contents=[data])


def channel(
    service: Service, credentials: grpc.ChannelCredentials | None = None, *, repeats: bool = False
) -> grpc.Channel:
    """A connection of its own; it may repeat calls that a process which ended has not answered."""
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if repeats:
        options.append(("grpc.service_config", documented_policy()))
    if credentials is None:
        return grpc.insecure_channel(service.grpc_address, options)
    return grpc.secure_channel(service.grpc_address, credentials, options)


def infer(
    channel: grpc.Channel, request: pb.ModelInferRequest | None = None, **more: Any
) -> pb.ModelInferResponse:
    """Ask once."""
    answer: pb.ModelInferResponse = _method(channel)(request or pictures(), **({"timeout": _TIMEOUT} | more))
    return answer


def _method(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        _INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    )


def told(answer: pb.ModelInferResponse) -> str:
    """The version that the content was made by."""
    at = [each.name for each in answer.outputs].index("scores")
    if answer.raw_output_contents:
        scores = np.frombuffer(answer.raw_output_contents[at], "<f4")
    else:
        scores = np.array(answer.outputs[at].contents.fp32_contents)
    return f"v{builders.code_of(float(scores.max()))}"


class RpcLoad(Load):
    """Pictures and tensors in turn until it is left; `status` 200 stands for OK."""

    def __init__(self, service: Service, *, repeats: bool = False, **more: Any) -> None:
        super().__init__(service, **more)
        self._service = service
        self._repeats = repeats

    def _send(self, fresh: bool) -> None:
        requests = itertools.cycle((pictures(), tensors()))
        kept = None if fresh else self._channel()
        while not self._ending.wait(PAUSE):
            used = kept or self._channel()
            self._shots.append(_shot(used, next(requests), fresh))
            if fresh:
                used.close()
        if kept is not None:
            kept.close()

    def _channel(self) -> grpc.Channel:
        return channel(self._service, repeats=self._repeats)


def _shot(used: grpc.Channel, request: pb.ModelInferRequest, fresh: bool) -> Shot:
    begun = time.monotonic()
    call = _method(used).future(request, timeout=_TIMEOUT)
    sent = time.monotonic()  # where the connection stands, as those do that are kept
    try:
        answer = call.result()
    except grpc.RpcError as error:
        why: Any = error
        return Shot(begun, time.monotonic(), 0, why=f"{why.code()}: {why.details()}", fresh=fresh, sent=sent)
    return Shot(begun, time.monotonic(), 200, answer.model_version, told(answer), fresh=fresh, sent=sent)
