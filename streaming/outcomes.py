"""The records of outcomes: a result, or a dead letter with its reason.

A dead letter is the message as it was, with headers that say why: those of Kafka Streams
(`__streams.errors.*`, KIP-1034 of apache/kafka) and our own (`okawari.*`), which alone say what to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from streaming.messages import Header, ImageMessage, IncomingRecord, OutgoingRecord
from streaming.replies import Success

#: `invalid`: the message cannot be read. `permanent`: the service refuses it for good. `exhausted`: it was
#: tried until the policy ended.
FailureClass = Literal["invalid", "permanent", "exhausted"]

#: Most bytes of a record's value: a broker takes a million by default, headers and all.
MOST_VALUE = 900_000

STREAMS = "__streams.errors."
OURS = "okawari."
TRACE = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class DeadLetterReason:
    """Why a message has no result."""

    kind: FailureClass
    code: str
    text: str
    attempts: int


@dataclass(frozen=True, slots=True)
class OutcomeTopics:
    """Whose messages they are, and where the outcomes go."""

    team: str
    results: str
    dead_letters: str
    now: Callable[[], float] = time.time


def result(
    topics: OutcomeTopics,
    record: IncomingRecord,
    message: ImageMessage,
    success: Success,
    *,
    attempts: int,
    seconds: float,
) -> OutgoingRecord:
    """The record of an answer; `seconds` passed from the first try to it."""
    answer = success.answer
    document = {
        "id": record.position.id,
        "team": topics.team,
        "input": message.fields,
        "answer": answer,
        "model": answer["model"],
        "model_version": answer["model_version"],
        "model_digest": answer["model_digest"],
        "generation": answer.get("generation"),
        "attempts": attempts,
        "dispatch_ms": round(seconds * 1000, 3),
        "answered_ts_ms": round(topics.now() * 1000),
    }
    headers = (
        (f"{OURS}id", record.position.id.encode()),
        (f"{OURS}model", answer["model"].encode()),
        (f"{OURS}model_version", answer["model_version"].encode()),
        *trace_of(record),
    )
    value = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return OutgoingRecord(topics.results, value, _key(record, message), headers)


def dead_letter(topics: OutcomeTopics, record: IncomingRecord, reason: DeadLetterReason) -> OutgoingRecord:
    """The message as it was, and why there is no result.

    What no broker would take with these headers stays where it is, which they name: the value, then other
    headers and the key.
    """
    position = record.position
    kept = [header for header in record.headers if not header[0].startswith((STREAMS, OURS))]
    added: list[Header] = [
        (f"{STREAMS}exception", f"okawari.{reason.kind}.{reason.code}".encode("utf-8", "replace")),
        (f"{STREAMS}message", reason.text.encode("utf-8", "replace")),
        (f"{STREAMS}stacktrace", b""),
        (f"{STREAMS}topic", position.topic.encode()),
        (f"{STREAMS}partition", str(position.partition).encode()),
        (f"{STREAMS}offset", str(position.offset).encode()),
        (f"{OURS}id", position.id.encode()),
        (f"{OURS}team", topics.team.encode()),
        (f"{OURS}error.class", reason.kind.encode()),
        (f"{OURS}error.code", reason.code.encode("utf-8", "replace")),
        (f"{OURS}attempts", str(reason.attempts).encode()),
        (f"{OURS}redriven", (record.header(f"{OURS}redriven") or "0").encode()),
    ]
    value, key = record.value, record.key
    if value is not None and _size(value, key, kept) > MOST_VALUE:
        added.append((f"{OURS}value_left_out", str(len(value)).encode()))
        value = None
    if _size(value, key, kept) > MOST_VALUE:
        kept, key = [], None
    return OutgoingRecord(topics.dead_letters, value, key, (*kept, *added))


def _size(value: bytes | None, key: bytes | None, headers: Sequence[Header]) -> int:
    return len(value or b"") + len(key or b"") + sum(len(name) + len(text or b"") for name, text in headers)


def _key(record: IncomingRecord, message: ImageMessage) -> bytes | None:
    return record.key if message.camera is None else message.camera.encode()


def trace_of(record: IncomingRecord) -> tuple[Header, ...]:
    """The headers of its trace, which an outcome goes on with."""
    return tuple(header for header in record.headers if header[0] in TRACE)
