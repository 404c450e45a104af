"""A gRPC client of `okawari.v1.Predictor`, which `api/protos/predictor.proto` describes.

usage: python -m examples.clients.over_grpc PICTURE [127.0.0.1:50051] [MODEL]
over TLS: --ca ca.crt (and --cert client.crt --key client.key if the service requires a client certificate)
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
    """A channel in plain text, or over TLS to a service with a certificate signed by `ca`."""
    if ca is None:
        return grpc.insecure_channel(address)
    own = [None if file is None else file.read_bytes() for file in (key, cert)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes(), *own))


def predict(picture: Path, channel: grpc.Channel, model: str = "") -> dict[str, object]:
    """The detections in a picture, and the version that made them."""
    with channel:
        request = PredictRequest(image=picture.read_bytes(), model=model)
        answer = PredictorStub(channel).Predict(request, timeout=30)
    # By default fields of value 0 are omitted, such as the id of the first label.
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return dict(MessageToDict(answer, **options))


def main() -> None:
    """Print the answer or the error."""
    parser = argparse.ArgumentParser(description="Detect objects in a picture, over gRPC.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("address", nargs="?", default="127.0.0.1:50051")
    parser.add_argument("model", nargs="?", default="", help="default: the service's default model")
    parser.add_argument(
        "--ca", type=Path, help="TLS: certificate of the authority that signed the service's certificate"
    )
    parser.add_argument("--cert", type=Path, help="client certificate, if the service requires one")
    parser.add_argument("--key", type=Path, help="key of the client certificate")
    arguments = parser.parse_args()
    if (arguments.cert is None) != (arguments.key is None) or (arguments.cert and arguments.ca is None):
        parser.error("--cert and --key need each other, and --ca")
    try:
        channel = connect(arguments.address, arguments.ca, arguments.cert, arguments.key)
        answer = predict(arguments.picture, channel, arguments.model)
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from None
    except OSError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
