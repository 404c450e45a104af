"""What the pipeline does when partitions come and go; the broker is played here, and real end to end."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TopicPartition

from streaming import kafka_dispatch
from streaming.dispatcher import Dispatcher
from streaming.image_questions import ImageQuestions
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_settings import KafkaSettings
from streaming.outcomes import OutcomeTopics
from tests.streaming.fake_service import ScriptedService, answered

TOPICS = OutcomeTopics("t", "results", "letters")


class _Played:
    """A client that notes what is paused."""

    def __init__(self, *_: Any) -> None:
        self.assigned: list[TopicPartition] = []
        self.paused: set[int] = set()

    def assignment(self) -> list[TopicPartition]:
        return self.assigned

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {each.partition for each in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {each.partition for each in places}


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> KafkaPipeline:
    """A pipeline without a broker."""
    for name in ("Consumer", "Producer"):
        monkeypatch.setattr(kafka_dispatch, name, _Played)
    dispatcher = Dispatcher(ImageQuestions(ScriptedService(answered()), TOPICS), TOPICS)
    return KafkaPipeline(KafkaSettings("nowhere"), dispatcher, topic="in", group="g")


@pytest.mark.parametrize("event", ["_assigned", "_revoked", "_lost"])
def test_a_partition_that_was_paused_is_read_again_after_others_came_or_went(
    pipeline: KafkaPipeline, event: str
) -> None:
    consumer: Any = pipeline._consumer
    consumer.assigned = [TopicPartition("in", 0), TopicPartition("in", 1)]
    pipeline._pause(True)
    assert consumer.paused == {0, 1}
    getattr(pipeline, event)(consumer, [TopicPartition("in", 1)])
    consumer.assigned = [TopicPartition("in", 0)]
    pipeline._pause(False)
    assert 0 not in consumer.paused


def test_nothing_is_asked_twice(pipeline: KafkaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer: Any = pipeline._consumer
    consumer.assigned = [TopicPartition("in", 0)]
    pipeline._pause(True)
    monkeypatch.setattr(consumer, "pause", None)
    pipeline._pause(True)
