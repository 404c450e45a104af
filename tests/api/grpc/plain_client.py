"""A client of ModelMora as others have it: its stub is made from the proto without a package.

Runs by itself, in the folder where the stub lies: two stubs of one name cannot live in one process.
Arguments: address, model, a picture's file. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import grpc
import modelmora_plain_pb2 as messages
from modelmora_plain_pb2_grpc import ModelInferenceStub


def main(address: str, model: str, file: str) -> None:
    """Every call once."""
    picture = Path(file).read_bytes()
    wanted = messages.EmbeddingRequest(request_id="plain", image_data=picture, model_name=model)
    bad = messages.EmbeddingRequest(request_id="bad", image_data=b"no picture", model_name="nobody")
    with grpc.insecure_channel(address) as channel:
        stub = ModelInferenceStub(channel)
        one = stub.GenerateEmbedding(wanted, timeout=60)
        batch = list(stub.GenerateBatch(messages.BatchRequest(requests=[wanted, bad]), timeout=60))
        states = list(stub.GenerateEmbeddingStream(wanted, timeout=60))
    last = states[-1].result
    print(
        json.dumps(
            {
                "vector": list(one.vector),
                "version": one.model_version,
                "batch": {each.request_id: [list(each.vector), each.error] for each in batch},
                "states": [messages.InferenceStatus.State.Name(each.state) for each in states],
                "last": list(last.vector),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
