"""The stub generated from the protocol's gRPC specification.  usage: typed_grpc.py HOST:PORT PICTURE

An answer with a field that the specification lacks shows in `unknown`, which stays empty. `specification` is
its file descriptor.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from open_inference.grpc import protocol as pb
from open_inference.grpc.service import GRPCInferenceServiceStub
from telling import Told

ADDRESS, PICTURE = sys.argv[1:3]
UNKNOWN: list[str] = []


def read(message: Any) -> Any:
    """A message as a dict; what the specification does not know is noted."""
    _note(message)
    return MessageToDict(message, preserving_proto_field_name=True)


def _note(message: Any) -> None:
    UNKNOWN.extend(f"{message.DESCRIPTOR.name}.{each.field_number}" for each in UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.label == field.LABEL_REPEATED else [value]:
            _note(each)


def tensors(model: str, **more: Any) -> Any:
    """One grey picture in typed contents."""
    contents = pb.InferTensorContents(fp32_contents=[0.5] * (3 * 32 * 32))
    given = pb.ModelInferRequest.InferInputTensor(
        name="image", datatype="FP32", shape=[1, 3, 32, 32], contents=contents
    )
    return pb.ModelInferRequest(model_name=model, inputs=[given], **more)


def pictures(**parameters: Any) -> Any:
    """A picture as BYTES in typed contents."""
    contents = pb.InferTensorContents(bytes_contents=[Path(PICTURE).read_bytes()])
    given = pb.ModelInferRequest.InferInputTensor(
        name="image", datatype="BYTES", shape=[1], contents=contents
    )
    return pb.ModelInferRequest(model_name="shapes", inputs=[given], parameters=parameters)


async def ask_all(told: Told, stub: Any) -> None:
    """Every call that the specification has."""

    def call(name: str, request: Any) -> Any:
        return read(getattr(stub, name)(request, timeout=30))

    await told.ask("live", call, "ServerLive", pb.ServerLiveRequest())
    await told.ask("ready", call, "ServerReady", pb.ServerReadyRequest())
    await told.ask("model ready", call, "ModelReady", pb.ModelReadyRequest(name="m"))
    await told.ask("version ready", call, "ModelReady", pb.ModelReadyRequest(name="m", version="2"))
    await told.ask("server metadata", call, "ServerMetadata", pb.ServerMetadataRequest())
    await told.ask("model metadata", call, "ModelMetadata", pb.ModelMetadataRequest(name="m", version="v2"))
    await told.ask("picture metadata", call, "ModelMetadata", pb.ModelMetadataRequest(name="shapes"))
    await told.ask("infer", call, "ModelInfer", tensors("m", id="nine"))
    await told.ask("pictures", call, "ModelInfer", pictures())
    await told.ask(
        "pictures few", call, "ModelInfer", pictures(max_detections=pb.InferParameter(int64_param=1))
    )
    mixed = tensors("m", raw_input_contents=[b"\0" * (4 * 3 * 32 * 32)])
    await told.ask("mixed contents", call, "ModelInfer", mixed)
    await told.ask("unknown model", call, "ModelInfer", tensors("nobody"))
    await told.ask("unknown metadata", call, "ModelMetadata", pb.ModelMetadataRequest(name="nobody"))


async def main() -> None:
    """Ask everything."""
    told = Told()
    with grpc.insecure_channel(ADDRESS) as channel:
        await ask_all(told, GRPCInferenceServiceStub(channel))
    told.outcomes["unknown"] = UNKNOWN
    specification = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(specification)
    told.outcomes["specification"] = MessageToDict(specification)
    told.print()


asyncio.run(main())
