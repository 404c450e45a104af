"""Records of Kafka as plain values. Needs okawari[stream]."""

from __future__ import annotations

from confluent_kafka import Message

from streaming.messages import Header, IncomingRecord, Position


def incoming(message: Message) -> IncomingRecord:
    """A record that was read."""
    position = Position(message.topic() or "", message.partition() or 0, message.offset() or 0)
    key = message.key()
    return IncomingRecord(
        position, message.value(), key.encode() if isinstance(key, str) else key, _headers(message)
    )


def _headers(message: Message) -> tuple[Header, ...]:
    given = message.headers() or ()
    pairs = given.items() if isinstance(given, dict) else given
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
