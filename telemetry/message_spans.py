"""The span of one message of a topic, from its first try to its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from streaming.messages import IncomingRecord
from telemetry import spans


@contextmanager
def message_span(record: IncomingRecord) -> Iterator[IncomingRecord]:
    """`message.process`, below the span that the record's headers name; the record goes on with this one."""
    if not spans.is_on():
        yield record
        return
    position = record.position
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.destination.name": position.topic,
        "messaging.destination.partition.id": str(position.partition),
        "messaging.kafka.offset": position.offset,
        "messaging.message.id": position.id,
    }
    carried = {name: value for name in spans.HEADERS if (value := record.header(name)) is not None}
    with spans.span("message.process", attributes, kind=spans.SpanKind.CONSUMER, headers=carried):
        kept = [header for header in record.headers if header[0] not in spans.HEADERS]
        own = [(name, value.encode()) for name, value in spans.headers().items()]
        yield replace(record, headers=(*kept, *own))
