"""Ask over gRPC, by our own call; `api/protos/predictor.proto` describes it.

usage: python -m examples.clients.over_grpc PICTURE [127.0.0.1:50051] [MODEL]
over TLS: --ca ca.crt (and --cert client.crt --key client.key where the service wants one)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict

from api.protos.predictor_pb2 import PredictRequest
from api.protos.predictor_pb2_grpc import PredictorStub


def connect(address: str, ca: Path | None, cert: Path | None, key: Path | None) -> grpc.Channel:
    """A connection: plain text, or TLS with a service whose certificate `ca` signed."""
    if ca is None:
        return grpc.insecure_channel(address)
    own = [None if file is None else file.read_bytes() for file in (key, cert)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes(), *own))


def predict(picture: Path, channel: grpc.Channel, model: str = "") -> dict[str, object]:
    """What the model finds in a picture, and which version found it."""
    with channel:
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
    parser.add_argument("--ca", type=Path, help="over TLS: who signed the service's certificate")
    parser.add_argument("--cert", type=Path, help="your own, where the service wants one")
    parser.add_argument("--key", type=Path, help="its key")
    words = parser.parse_args()
    if (words.cert is None) != (words.key is None) or (words.cert and words.ca is None):
        parser.error("--cert and --key belong together, and to --ca")
    try:
        channel = connect(words.address, words.ca, words.cert, words.key)
        answer = predict(words.picture, channel, words.model)
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
