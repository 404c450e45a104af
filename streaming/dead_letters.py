"""The dead letters of a topic: read, and sent back to where they came from. Needs okawari[stream].

What was read by the group `okawari-dlq` is dealt with. A redrive sends back the letters that are wanted, puts
the others behind the last one, and moves the group on: all in one transaction, so each is there once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from streaming.kafka_records import incoming
from streaming.kafka_settings import KafkaSettings
from streaming.messages import IncomingRecord
from streaming.outcomes import OURS, STREAMS

GROUP = "okawari-dlq"
_SECONDS = 30.0
#: Letters in one transaction.
_MOST = 500
_PAUSE = 0.3

Wanted = Callable[["DeadLetter"], bool]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message without a result, and why. `id` and `topic` are those of the message itself."""

    record: IncomingRecord
    id: str
    topic: str
    team: str
    kind: str
    code: str
    reason: str
    attempts: int
    redriven: int

    @classmethod
    def of(cls, record: IncomingRecord) -> DeadLetter:
        """What its headers say; also of a dead letter that Kafka Streams wrote."""

        def said(name: str) -> str:
            return record.header(name) or ""

        return cls(
            record=record,
            id=said(f"{OURS}id") or record.position.id,
            topic=said(f"{STREAMS}topic"),
            team=said(f"{OURS}team"),
            kind=said(f"{OURS}error.class"),
            code=said(f"{OURS}error.code") or said(f"{STREAMS}exception"),
            reason=said(f"{STREAMS}message"),
            attempts=_number(said(f"{OURS}attempts")),
            redriven=_number(said(f"{OURS}redriven")),
        )


@dataclass(slots=True)
class RedriveFigures:
    """How many letters were sent back, and how many were put behind the last one."""

    sent: int = 0
    kept: int = 0


class DeadLetters:
    """The letters of one topic that wait. All methods raise `KafkaException`."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    def waiting(self) -> Iterator[DeadLetter]:
        """All that are there now, partition by partition."""
        consumer = self._consumer()
        try:
            for partition in self._partitions(consumer):
                for batch in self._batches(consumer, partition):
                    yield from batch
        finally:
            consumer.close()

    def redrive(self, wanted: Wanted, target: str | None = None) -> RedriveFigures:
        """Send those back that are wanted: to the topic where each came from, or all to `target`."""
        figures = RedriveFigures()
        consumer, producer = self._consumer(), self._producer()
        try:
            producer.init_transactions(_SECONDS)
            for partition in self._partitions(consumer):
                for batch in self._batches(consumer, partition):
                    behind = batch[-1].record.position.offset + 1
                    moved = TopicPartition(self._topic, partition.partition, behind)
                    self._move(consumer, producer, batch, moved, (wanted, target, figures))
        finally:
            consumer.close()
        return figures

    def _move(
        self,
        consumer: Consumer,
        producer: Producer,
        batch: list[DeadLetter],
        moved: TopicPartition,
        plan: tuple[Wanted, str | None, RedriveFigures],
    ) -> None:
        wanted, target, figures = plan
        sent = kept = 0
        producer.begin_transaction()
        try:
            for letter in batch:
                back = target or letter.topic
                goes = bool(back) and letter.record.value is not None and wanted(letter)
                sent, kept = sent + goes, kept + (not goes)
                headers = _again(letter) if goes else _as_it_was(letter)
                producer.produce(
                    back if goes else self._topic, letter.record.value, letter.record.key, headers=headers
                )
            producer.send_offsets_to_transaction([moved], consumer.consumer_group_metadata(), _SECONDS)
            producer.commit_transaction(_SECONDS)
        except KafkaException:
            producer.abort_transaction(_SECONDS)
            raise
        figures.sent, figures.kept = figures.sent + sent, figures.kept + kept

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self._settings.common(),
                "group.id": GROUP,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )

    def _producer(self) -> Producer:
        """One for each topic: a second redrive ends the first."""
        return Producer(self._settings.producer(f"{GROUP}-{self._topic}"))

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        """The partitions, each with the offset from which letters wait."""
        found = consumer.list_topics(self._topic, _SECONDS).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        places = [TopicPartition(self._topic, number) for number in sorted(found.partitions)]
        committed = consumer.committed(places, _SECONDS)
        return [
            TopicPartition(self._topic, each.partition, each.offset if each.offset >= 0 else OFFSET_BEGINNING)
            for each in committed
        ]

    def _batches(self, consumer: Consumer, partition: TopicPartition) -> Iterator[list[DeadLetter]]:
        """The letters that wait in a partition now; none that is put behind them meanwhile."""
        place = TopicPartition(self._topic, partition.partition)
        first, end = consumer.get_watermark_offsets(place, _SECONDS)
        if end <= max(first, partition.offset):
            return
        consumer.assign([partition])
        until = time.monotonic() + _SECONDS
        at_end = False
        while not at_end and time.monotonic() < until:
            # It waits for so many messages, or so long: the mark of the end alone does not end it.
            batch = []
            for message in consumer.consume(_MOST, _PAUSE):
                error = message.error()
                if error is None and (message.offset() or 0) < end:
                    batch.append(DeadLetter.of(incoming(message)))
                elif error is None or error.code() == KafkaError._PARTITION_EOF:
                    at_end = True
                else:
                    raise KafkaException(error)
            if batch:
                yield batch
                until = time.monotonic() + _SECONDS


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _as_it_was(letter: DeadLetter) -> list[tuple[str, str | bytes | None]]:
    return [*letter.record.headers]


def _again(letter: DeadLetter) -> list[tuple[str, str | bytes | None]]:
    kept = [one for one in letter.record.headers if not one[0].startswith((STREAMS, OURS))]
    return [
        *kept,
        (f"{OURS}redriven", str(letter.redriven + 1).encode()),
        (f"{OURS}redriven_from", letter.id.encode()),
    ]
