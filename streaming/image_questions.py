"""Messages that name a picture in a bucket, asked of `/infer_json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.dispatcher import Question
from streaming.messages import ImageMessage, IncomingRecord, OutgoingRecord, parse
from streaming.outcomes import TRACE, OutcomeTopics, result
from streaming.replies import FailedReply, Reply, Success, Unreachable, judge


class InferenceClient(Protocol):
    """Asks the service."""

    async def infer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post a body. Raises `Unreachable`."""
        ...


@dataclass(frozen=True, slots=True)
class ImageQuestions:
    """Reads messages as questions to a service."""

    client: InferenceClient
    topics: OutcomeTopics

    def __call__(self, record: IncomingRecord) -> Question:
        """See `ReadQuestion`."""
        return _ImageQuestion(self.client, self.topics, record, parse(record.value))


@dataclass(frozen=True, slots=True)
class _ImageQuestion:
    client: InferenceClient
    topics: OutcomeTopics
    record: IncomingRecord
    message: ImageMessage

    async def ask(self) -> Success | FailedReply:
        headers = {"Content-Type": "application/json", **request_headers(self.record)}
        return await asked(self.client, _body(self.message), headers)

    def answered(self, said: Success, attempts: int, seconds: float) -> OutgoingRecord:
        return result(self.topics, self.record, self.message, said, attempts=attempts, seconds=seconds)


async def asked(client: InferenceClient, body: bytes, headers: Mapping[str, str]) -> Success | FailedReply:
    """What the service says; that it cannot be reached is a passing failure."""
    try:
        return judge(await client.infer(body, headers))
    except Unreachable as error:
        return FailedReply("unreachable", str(error), transient=True)


def _body(message: ImageMessage) -> bytes:
    document: dict[str, Any] = {"bucket": message.bucket, "key": message.key}
    if message.extra is not None:
        document["extra"] = message.extra
    return json.dumps(document).encode()


def request_headers(record: IncomingRecord) -> dict[str, str]:
    """The id of a request and the trace that it goes on with, as the record has them."""
    trace = {
        name: value
        for name in TRACE
        if (value := record.header(name)) is not None and value.isascii() and value.isprintable()
    }
    return {"X-Request-Id": record.position.id[:128], **trace}
