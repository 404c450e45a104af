"""One message from its record to its outcome: read, asked about, asked about again, written down.

Sources of order and loss are elsewhere: this holds for one message alone, and never raises for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.messages import BadMessage, IncomingRecord, OutgoingRecord
from streaming.outcomes import MOST_VALUE, DeadLetterReason, FailureClass, OutcomeTopics, dead_letter
from streaming.replies import FailedReply, Success
from streaming.retries import RetryPolicy

logger = logging.getLogger("okawari.streaming")


class Question(Protocol):
    """What one message asks, as often as it is tried."""

    async def ask(self) -> Success | FailedReply:
        """Ask once; never raises for what the message is about."""
        ...

    def answered(self, said: Success, attempts: int, seconds: float) -> OutgoingRecord:
        """The record of the answer, which came after so many tries and seconds."""
        ...


#: Around the work on a record: gives the record to go on with, which may have the headers of a trace.
TraceRecord = Callable[[IncomingRecord], AbstractContextManager[IncomingRecord]]

#: Reads a record; raises `BadMessage` for one that can never be answered.
ReadQuestion = Callable[[IncomingRecord], Question]


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
        read: ReadQuestion,
        topics: OutcomeTopics,
        policy: RetryPolicy | None = None,
        *,
        concurrency: int | None = None,
        traced: TraceRecord = nullcontext,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """At most `concurrency` are asked about at once; between two tries of one others have its place."""
        self._read = read
        self._places = nullcontext() if concurrency is None else asyncio.Semaphore(concurrency)
        self._topics = topics
        self._traced = traced
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
            with self._traced(record) as traced:
                return await self._tried(record, self._read(traced))
        except BadMessage as bad:
            return self._dead(record, "invalid", FailedReply(bad.code, bad.reason, transient=False), 0)
        except Exception as error:
            # A fault of ours must not keep all messages behind this one waiting.
            logger.exception("message %s", record.position.id)
            text = f"the dispatcher failed: {type(error).__name__}: {error}"[:1000]
            return self._dead(record, "permanent", FailedReply("dispatcher_error", text, transient=False), 0)

    async def _tried(self, record: IncomingRecord, question: Question) -> OutgoingRecord:
        begun, attempts = self._clock(), 0
        said: Success | FailedReply | None = None
        while True:
            async with self._places:
                if isinstance(said, FailedReply) and self._clock() - begun > self._policy.seconds:
                    # The time ended while others had the places: no message takes much longer than it may.
                    return self._dead(record, "exhausted", said, attempts)
                attempts += 1
                said = await question.ask()
            if isinstance(said, Success):
                return self._answered(
                    record, question.answered(said, attempts, self._clock() - begun), attempts
                )
            if not said.transient:
                return self._dead(record, "permanent", said, attempts)
            wait = self._policy.wait(attempts, self._clock() - begun, said.retry_after, self._chance)
            if wait is None:
                return self._dead(record, "exhausted", said, attempts)
            self.figures.retries += 1
            await self._sleep(wait)

    def _answered(self, record: IncomingRecord, written: OutgoingRecord, attempts: int) -> OutgoingRecord:
        size = len(written.value or b"")
        if size <= MOST_VALUE:
            return written
        text = f"the result has {size} bytes, at most {MOST_VALUE} are written: ask for fewer detections"
        said = FailedReply("result_too_large", text, transient=False)
        return self._dead(record, "permanent", said, attempts)

    def _dead(
        self, record: IncomingRecord, kind: FailureClass, said: FailedReply, attempts: int
    ) -> OutgoingRecord:
        reason = DeadLetterReason(kind, said.code, said.reason, attempts)
        return dead_letter(self._topics, record, reason)
