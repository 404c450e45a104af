"""Records of Kafka as plain values. Needs okawari[stream]."""

from __future__ import annotations

import logging

from confluent_kafka import Message

from streaming.messages import Header, IncomingRecord, Position

logger = logging.getLogger("okawari.streaming")


def incoming(message: Message) -> IncomingRecord:
    """A record that was read."""
    position = Position(message.topic() or "", message.partition() or 0, message.offset() or 0)
    key = message.key()
    return IncomingRecord(
        position, message.value(), key.encode() if isinstance(key, str) else key, _headers(message)
    )


def _headers(message: Message) -> tuple[Header, ...]:
    try:
        given = message.headers() or ()
    except Exception as error:  # noqa: BLE001 - names that are no UTF-8: the client raises what comes to hand
        logger.warning("the headers of a message of %s cannot be read: %r", message.topic(), error)
        return ()
    pairs = given.items() if isinstance(given, dict) else given
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
