"""Events that a picture was registered: the service makes its vector, which is stored and announced.

Needs okawari[events].
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from streaming.dispatcher import Question
from streaming.event_shapes import EmbeddingGenerated, ImageRegistered, read_event
from streaming.fetch import FetchFailed, ImageFetcher
from streaming.image_questions import InferenceClient, asked, request_headers
from streaming.messages import IncomingRecord, OutgoingRecord
from streaming.outcomes import OURS, trace_of
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
        return _EmbeddingQuestion(self, record, read_event(ImageRegistered, record.value))


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
            *trace_of(self.record),
        )
        key = self.event.image_metadata_id.encode()
        return OutgoingRecord(EmbeddingGenerated.topic, event.model_dump_json().encode(), key, headers)
