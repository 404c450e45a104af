"""Events that find no broker: nothing waits for them, and each one that is lost is counted."""

from __future__ import annotations

import time
from collections import Counter

from streaming.kafka_settings import KafkaSettings
from telemetry.model_events import EventPublisher
from tests.e2e.harness import free_port


def test_events_without_a_broker_are_lost_and_counted() -> None:
    counted: Counter[tuple[str, bool]] = Counter()

    def count(topic: str, arrived: bool) -> None:
        counted[topic, arrived] += 1

    publisher = EventPublisher(KafkaSettings(f"127.0.0.1:{free_port()}"), count)
    begun = time.monotonic()
    for number in range(1_200):
        publisher.publish("model.loaded.v1", f"m{number}", b"{}")
    assert time.monotonic() - begun < 5
    assert counted == {("model.loaded.v1", False): 200}, "a thousand wait"
    publisher.stop(0.1)
    assert counted == {("model.loaded.v1", False): 1_200}
