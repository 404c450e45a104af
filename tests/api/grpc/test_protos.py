"""The protos: generated code is fresh, and the Open Inference Protocol has its own numbers (G1–G5, G9)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from api.protos import inference_pb2

ROOT = Path(__file__).parents[3]
PROTOS = ROOT / "api" / "protos"

#: "message: field=number:type …"; `*` is repeated, `map<…>` a map with strings as keys, a word a message.
TABLE = """
ServerLiveRequest:
ServerLiveResponse: live=1:bool
ServerReadyRequest:
ServerReadyResponse: ready=1:bool
ModelReadyRequest: name=1:string version=2:string
ModelReadyResponse: ready=1:bool
ServerMetadataRequest:
ServerMetadataResponse: name=1:string version=2:string extensions=3:*string
ModelMetadataRequest: name=1:string version=2:string
ModelMetadataResponse: name=1:string versions=2:*string platform=3:string inputs=4:*TensorMetadata \
outputs=5:*TensorMetadata properties=6:map<string>
ModelMetadataResponse.TensorMetadata: name=1:string datatype=2:string shape=3:*int64
ModelInferRequest: model_name=1:string model_version=2:string id=3:string parameters=4:map<InferParameter> \
inputs=5:*InferInputTensor outputs=6:*InferRequestedOutputTensor raw_input_contents=7:*bytes
ModelInferRequest.InferInputTensor: name=1:string datatype=2:string shape=3:*int64 \
parameters=4:map<InferParameter> contents=5:InferTensorContents
ModelInferRequest.InferRequestedOutputTensor: name=1:string parameters=2:map<InferParameter>
ModelInferResponse: model_name=1:string model_version=2:string id=3:string parameters=4:map<InferParameter> \
outputs=5:*InferOutputTensor raw_output_contents=6:*bytes
ModelInferResponse.InferOutputTensor: name=1:string datatype=2:string shape=3:*int64 \
parameters=4:map<InferParameter> contents=5:InferTensorContents
ModelStreamInferResponse: error_message=1:string infer_response=2:ModelInferResponse
InferParameter: bool_param=1:bool int64_param=2:int64 string_param=3:string double_param=4:double \
uint64_param=5:uint64
InferTensorContents: bool_contents=1:*bool int_contents=2:*int32 int64_contents=3:*int64 \
uint_contents=4:*uint32 uint64_contents=5:*uint64 fp32_contents=6:*float fp64_contents=7:*double \
bytes_contents=8:*bytes
RepositoryIndexRequest: repository_name=1:string ready=2:bool
RepositoryIndexResponse: models=1:*ModelIndex
RepositoryIndexResponse.ModelIndex: name=1:string version=2:string state=3:string reason=4:string
RepositoryModelLoadRequest: repository_name=1:string model_name=2:string \
parameters=3:map<ModelRepositoryParameter>
RepositoryModelLoadResponse:
RepositoryModelUnloadRequest: repository_name=1:string model_name=2:string \
parameters=3:map<ModelRepositoryParameter>
RepositoryModelUnloadResponse:
ModelRepositoryParameter: bool_param=1:bool int64_param=2:int64 string_param=3:string bytes_param=4:bytes
"""
SPECIFIED = [line.partition(":")[::2] for line in TABLE.strip().splitlines()]


def _type(field: FieldDescriptor) -> str:
    if field.message_type is None:
        names = {number: name for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")}
        return names[field.type].removeprefix("TYPE_").lower()
    if field.message_type.GetOptions().map_entry:
        return f"map<{_type(field.message_type.fields_by_name['value'])}>"
    return str(field.message_type.name)


def _row(message: Descriptor) -> str:
    cells = []
    for field in message.fields:
        many = field.is_repeated and not _type(field).startswith("map<")
        cells.append(f"{field.name}={field.number}:{'*' if many else ''}{_type(field)}")
    return " ".join(cells)


@pytest.mark.parametrize(("name", "fields"), SPECIFIED, ids=[name for name, _ in SPECIFIED])
def test_g2_to_g5_and_m5_messages_have_the_names_numbers_and_types_of_the_specification(
    name: str, fields: str
) -> None:
    first, *inner = name.split(".")
    message = inference_pb2.DESCRIPTOR.message_types_by_name[first]
    for each in inner:
        message = message.nested_types_by_name[each]
    assert _row(message) == fields.strip()


def test_g1_and_g9_the_service_has_the_methods_of_the_specification_and_its_extensions() -> None:
    service = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    core = ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"]
    more = ["ModelStreamInfer", "ModelConfig", "ModelStatistics"]
    repository = ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]
    assert [method.name for method in service.methods] == core + more + repository
    stream = service.methods_by_name["ModelStreamInfer"]
    assert (stream.input_type.name, stream.output_type.name) == (
        "ModelInferRequest",
        "ModelStreamInferResponse",
    )
    assert stream.client_streaming
    assert stream.server_streaming
    for method in service.methods:
        if method.name == stream.name:
            continue
        assert (method.input_type.name, method.output_type.name) == (
            f"{method.name}Request",
            f"{method.name}Response",
        )
        assert not method.client_streaming
        assert not method.server_streaming


@pytest.mark.e2e
@pytest.mark.timeout(60)
def test_what_is_generated_is_what_the_protos_say(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "protos", Path(sys.executable).parent, tmp_path], cwd=ROOT, check=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "api" / "protos").iterdir()}
    kept = {path.name: path.read_bytes() for path in PROTOS.glob("*_pb2*")}
    assert kept == fresh, "run: scripts/protos .venv/bin"
    assert len(kept) == 3 * len(list(PROTOS.glob("*.proto")))
