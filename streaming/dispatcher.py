"""One message from its record to its outcome: read, asked about, asked about again, written down.

Sources of order and loss are elsewhere: this holds for one message alone, and never raises for it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.messages import BadMessage, ImageMessage, IncomingRecord, OutgoingRecord, parse
from streaming.outcomes import MOST_VALUE, TRACE, DeadLetterReason, OutcomeTopics, dead_letter, result
from streaming.replies import FailedReply, Reply, Success, Unreachable, judge
from streaming.retries import RetryPolicy


class InferenceClient(Protocol):
    """Asks the service."""

    async def infer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """`POST /infer_json`. Raises `Unreachable`."""
        ...


@dataclass(slots=True)
class DispatchFigures:
    """Counts since the start."""

    results: int = 0
    dead_letters: int = 0
    retries: int = 0
    in_flight: int = 0


class Dispatcher:
    """Turns records into outcomes. May be used for many records at once, in one event loop."""

    def __init__(
        self,
        client: InferenceClient,
        topics: OutcomeTopics,
        policy: RetryPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._topics = topics
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self.figures = DispatchFigures()

    async def outcome(self, record: IncomingRecord) -> OutgoingRecord:
        """The result of a message, or its dead letter."""
        self.figures.in_flight += 1
        try:
            written = await self._outcome(record)
        finally:
            self.figures.in_flight -= 1
        if written.topic == self._topics.dead_letters:
            self.figures.dead_letters += 1
        else:
            self.figures.results += 1
        return written

    async def _outcome(self, record: IncomingRecord) -> OutgoingRecord:
        try:
            message = parse(record.value)
        except BadMessage as bad:
            reason = DeadLetterReason("invalid", bad.code, bad.reason, attempts=0)
            return dead_letter(self._topics, record, reason)
        body, headers = _body(message), _headers(record)
        begun, attempts = self._clock(), 0
        while True:
            attempts += 1
            said = await self._ask(body, headers)
            if isinstance(said, Success):
                return self._answered(record, message, said, attempts, self._clock() - begun)
            if not said.transient:
                reason = DeadLetterReason("permanent", said.code, said.reason, attempts)
                return dead_letter(self._topics, record, reason)
            wait = self._policy.wait(attempts, self._clock() - begun, said.retry_after, self._chance)
            if wait is None:
                reason = DeadLetterReason("exhausted", said.code, said.reason, attempts)
                return dead_letter(self._topics, record, reason)
            self.figures.retries += 1
            await self._sleep(wait)

    def _answered(
        self, record: IncomingRecord, message: ImageMessage, said: Success, attempts: int, seconds: float
    ) -> OutgoingRecord:
        written = result(self._topics, record, message, said, attempts=attempts, seconds=seconds)
        size = len(written.value or b"")
        if size <= MOST_VALUE:
            return written
        text = f"the result has {size} bytes, at most {MOST_VALUE} are written: ask for fewer detections"
        return dead_letter(
            self._topics, record, DeadLetterReason("permanent", "result_too_large", text, attempts)
        )

    async def _ask(self, body: bytes, headers: Mapping[str, str]) -> Success | FailedReply:
        try:
            return judge(await self._client.infer(body, headers))
        except Unreachable as error:
            return FailedReply("unreachable", str(error), transient=True)


def _body(message: ImageMessage) -> bytes:
    document: dict[str, Any] = {"bucket": message.bucket, "key": message.key}
    if message.extra is not None:
        document["extra"] = message.extra
    return json.dumps(document).encode()


def _headers(record: IncomingRecord) -> dict[str, str]:
    trace = {
        name: value
        for name in TRACE
        if (value := record.header(name)) is not None and value.isascii() and value.isprintable()
    }
    return {"Content-Type": "application/json", "X-Request-Id": record.position.id[:128], **trace}
