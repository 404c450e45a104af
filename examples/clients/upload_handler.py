"""An upload handler of another service: the vector at once if it comes within 5 s, else by an event, later.

    handle = UploadHandler("127.0.0.1:50051", "127.0.0.1:9092")
    vector = handle("picture-17", "owner-3", "https://images.example.org/17.jpg", jpeg)

Needs grpcio, confluent-kafka and the stubs of api/protos/modelmora.proto.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import grpc
from confluent_kafka import Producer

from api.protos.modelmora_pb2 import EmbeddingRequest
from api.protos.modelmora_pb2_grpc import ModelInferenceStub

TOPIC = "image.metadata.registered.v1"
SECONDS = 5.0


class UploadHandler:
    """Keeps one connection to the service and one to Kafka."""

    def __init__(self, service: str, bootstrap: str, topic: str = TOPIC) -> None:
        self._channel = grpc.insecure_channel(service)
        self._service = ModelInferenceStub(self._channel)
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self._topic = topic

    def __call__(
        self, image_metadata_id: str, owner_id: str, image_url: str, image: bytes, model: str = ""
    ) -> Sequence[float] | None:
        """The vector; None where an event asks for it instead. Raises `RuntimeError` where both fail."""
        request = EmbeddingRequest(request_id=image_metadata_id, model_name=model, image_data=image)
        try:
            return list(self._service.GenerateEmbedding(request, timeout=SECONDS).vector)
        except grpc.RpcError:
            self._later(image_metadata_id, owner_id, image_url)
            return None

    def _later(self, image_metadata_id: str, owner_id: str, image_url: str) -> None:
        event = {"image_metadata_id": image_metadata_id, "owner_id": owner_id, "image_url": image_url}
        self._producer.produce(self._topic, json.dumps(event).encode(), image_metadata_id.encode())
        if self._producer.flush(SECONDS):
            raise RuntimeError("neither the service nor Kafka can be reached: let the upload be tried again")

    def close(self) -> None:
        """Close both connections."""
        self._channel.close()
        self._producer.flush(SECONDS)
