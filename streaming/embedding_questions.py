"""Events that a picture was registered: the service makes its vector, which is stored and announced.

Needs okawari[events].
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from streaming.dispatcher import Question
from streaming.event_shapes import EmbeddingGenerated, ImageRegistered
from streaming.fetch import FetchFailed, ImageFetcher
from streaming.image_questions import InferenceClient, asked, request_headers
from streaming.messages import MOST_BYTES, BadMessage, IncomingRecord, OutgoingRecord
from streaming.outcomes import OURS, TRACE
from streaming.replies import FailedReply, Success
from streaming.vectors import Vector, VectorsFailed, VectorStore, vector_id

#: Codes of a model that is not there yet: which one is asked is no choice of the event.
_NOT_THERE = ("model_not_found", "version_not_loaded", "version_failed", "model_required")


@dataclass(frozen=True, slots=True)
class EmbeddingQuestions:
    """Reads events as questions: `client` posts pictures to the service's `/predict`."""

    images: ImageFetcher
    client: InferenceClient
    vectors: VectorStore

    def __call__(self, record: IncomingRecord) -> Question:
        """See `ReadQuestion`."""
        return _EmbeddingQuestion(self, record, _event(record.value))


@dataclass(slots=True)
class _EmbeddingQuestion:
    parts: EmbeddingQuestions
    record: IncomingRecord
    event: ImageRegistered
    _image: bytes | None = field(default=None, init=False)

    async def ask(self) -> Success | FailedReply:
        try:
            if self._image is None:
                self._image = await self.parts.images.fetch(self.event.image_url)
        except FetchFailed as failed:
            return failed.reply
        headers = {"Content-Type": "application/octet-stream", **request_headers(self.record)}
        said = await asked(self.parts.client, self._image, headers)
        if isinstance(said, FailedReply):
            return replace(said, transient=said.transient or said.code in _NOT_THERE)
        values = said.answer.get("embedding")
        if not isinstance(values, list) or not values:
            text = f"{said.model} gives no vector: choose a model for image-embedding"
            return FailedReply("no_vector", text, transient=False)
        try:
            await asyncio.to_thread(self.parts.vectors.put, self._vector(said, values))
        except VectorsFailed as failed:
            return failed.reply
        return said

    def _vector(self, said: Success, values: list[float]) -> Vector:
        answer = said.answer
        payload = {
            "image_metadata_id": self.event.image_metadata_id,
            "owner_id": self.event.owner_id,
            "model_name": answer["model"],
            "model_version": answer["model_version"],
            "digest": answer["model_digest"],
            "dimension": len(values),
        }
        return Vector(vector_id(self.event.image_metadata_id, answer["model"]), values, payload)

    def answered(self, said: Success, attempts: int, seconds: float) -> OutgoingRecord:
        answer = said.answer
        event = EmbeddingGenerated(
            image_metadata_id=self.event.image_metadata_id,
            vector_id=vector_id(self.event.image_metadata_id, answer["model"]),
            model_name=answer["model"],
            model_version=answer["model_version"],
            dimension=len(answer["embedding"]),
            generation_time_ms=round(seconds * 1000, 3),
        )
        headers = (
            (f"{OURS}id", self.record.position.id.encode()),
            (f"{OURS}attempts", str(attempts).encode()),
            *(header for header in self.record.headers if header[0] in TRACE),
        )
        key = self.event.image_metadata_id.encode()
        return OutgoingRecord(EmbeddingGenerated.topic, event.model_dump_json().encode(), key, headers)


def _event(value: bytes | None) -> ImageRegistered:
    """Raises `BadMessage` naming the field."""
    if value is None or len(value) > MOST_BYTES:
        raise BadMessage("invalid_event", f"the event should have 1 to {MOST_BYTES} bytes")
    try:
        document = json.loads(value)
        return ImageRegistered.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadMessage("invalid_event", f"{place or 'the event'}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise BadMessage("invalid_event", f"the event is no JSON: {str(error)[:200]}") from None
