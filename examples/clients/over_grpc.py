"""Ask over gRPC, by our own call; `api/protos/predictor.proto` describes it.

usage: python -m examples.clients.over_grpc PICTURE [127.0.0.1:50051] [MODEL]
"""

from __future__ import annotations

import argparse
import json
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
    # Protobuf leaves out what is 0 or empty, such as the first label's id; JSON shall say it.
    shown = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return dict(MessageToDict(answer, **shown))


def main() -> None:
    """Print the answer, or why there is none."""
    parser = argparse.ArgumentParser(description="What is in a picture, over gRPC.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("address", nargs="?", default="127.0.0.1:50051")
    parser.add_argument("model", nargs="?", default="", help="the service's default if left out")
    words = parser.parse_args()
    try:
        answer = predict(words.picture, words.address, words.model)
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
