"""Events for whoever listens: sent in the background, and lost, counted, rather than waited for.

Needs okawari[stream].
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from streaming.kafka_settings import KafkaSettings

#: Events that wait for a broker, and seconds for which one does.
_MOST, _SECONDS = 1_000, 60
_POLL = 0.5


class EventPublisher:
    """Sends events. `publish` may be called by any thread, and never waits.

    `count` gets the topic of each event, and whether it arrived.
    """

    def __init__(self, settings: KafkaSettings, count: Callable[[str, bool], None]) -> None:
        self._count = count
        self._producer = Producer(
            {
                **settings.common(),
                "enable.idempotence": True,
                "queue.buffering.max.messages": _MOST,
                "message.timeout.ms": _SECONDS * 1000,
                "log_level": 3,
            }
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="okawari-events", daemon=True)
        self._thread.start()

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Send an event soon; without room for it it is lost."""
        try:
            self._producer.produce(
                topic, value, key.encode(), on_delivery=lambda error, _: self._count(topic, error is None)
            )
        except (BufferError, KafkaException):
            self._count(topic, False)

    def stop(self, seconds: float) -> None:
        """Send what waits, as far as that is possible in so many seconds."""
        self._producer.flush(seconds)
        self._ending.set()
        self._thread.join(seconds)

    def _poll(self) -> None:
        while not self._ending.is_set():
            self._producer.poll(_POLL)
