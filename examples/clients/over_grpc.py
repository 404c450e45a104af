"""Ask over gRPC, by our own call; `api/protos/predictor.proto` describes it.

usage: python -m examples.clients.over_grpc PICTURE [127.0.0.1:50051] [MODEL]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict

from api.protos.predictor_pb2 import PredictRequest
from api.protos.predictor_pb2_grpc import PredictorStub


def predict(picture: Path, address: str, model: str = "") -> dict[str, object]:
    """What the model finds in a picture, and which version found it."""
    with grpc.insecure_channel(address) as channel:
        request = PredictRequest(image=picture.read_bytes(), model=model)
        answer = PredictorStub(channel).Predict(request, timeout=30)
    return dict(MessageToDict(answer, preserving_proto_field_name=True))


def main(picture: str, address: str = "127.0.0.1:50051", *model: str) -> None:
    """Print the answer, or why there is none."""
    try:
        answer = predict(Path(picture), address, *model)
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
