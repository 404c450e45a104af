"""What happens to versions, as events for others: once for the service, however many its workers are.

Events are sent in the background, and lost, counted, rather than waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from hotswap.events import LoadedVersion, Observer, Swap
from manifest.tags import ModelTag
from streaming.event_shapes import GivenEvent, ModelEvicted, ModelLoaded, ModelRejected, ModelSwapped
from streaming.kafka_settings import KafkaSettings

_LONGEST = 2_000

#: Sends topic, key and value; never waits.
Publish = Callable[[str, str, bytes], None]

#: Events that wait for a broker, and seconds for which one does.
_MOST, _SECONDS = 1_000, 60
_POLL = 0.5


class EventPublisher:
    """Sends events; needs okawari[stream]. `publish` may be called by any thread, and never waits.

    `count` gets the topic of each event, and whether it arrived.
    """

    def __init__(self, settings: KafkaSettings, count: Callable[[str, bool], None]) -> None:
        from confluent_kafka import KafkaException, Producer

        self._refusals = (BufferError, KafkaException)
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
        except self._refusals:
            self._count(topic, False)

    def stop(self, seconds: float) -> None:
        """Send what waits, as far as that is possible in so many seconds; the rest is lost, and counted."""
        if self._producer.flush(seconds):
            self._producer.purge()
            self._producer.flush(1.0)
        self._ending.set()
        self._thread.join(seconds)

    def _poll(self) -> None:
        while not self._ending.is_set():
            self._producer.poll(_POLL)


class ModelEvents(Observer):
    """Publishes them. All workers see the same versions come and go: `speaks`: this one says so."""

    def __init__(self, publish: Publish, *, speaks: bool) -> None:
        self._publish = publish
        self._speaks = speaks

    def loaded(self, version: LoadedVersion) -> None:
        """See `Observer`."""
        held = version.resident_bytes
        event = ModelLoaded(
            model_name=version.tag.name,
            model_version=version.tag.version,
            digest=version.digest,
            memory_mb=None if held is None else round(held / 1e6, 3),
            warmup_time_ms=round(version.warm_up_seconds * 1000, 3),
        )
        self._send(event, version.tag.name)

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:  # noqa: ARG002
        """See `Observer`."""
        event = ModelRejected(model_name=tag.name, model_version=tag.version, reason=reason[:_LONGEST])
        self._send(event, tag.name)

    def published(self, swap: Swap) -> None:
        """See `Observer`."""
        event = ModelSwapped(
            model_name=swap.name,
            previous_version=swap.before,
            model_version=swap.after,
            digest=swap.digest,
            generation=swap.generation,
            actor=swap.actor,
            reason=swap.reason,
        )
        self._send(event, swap.name)

    def evicted(self, tag: ModelTag, reason: str, bytes_freed: int, idle_seconds: float) -> None:
        """See `Observer`: the worker that decided it says so."""
        event = ModelEvicted(
            model_name=tag.name,
            model_version=tag.version,
            reason=reason[:_LONGEST],
            memory_mb=round(bytes_freed / 1e6, 3),
            idle_seconds=round(idle_seconds, 3),
        )
        self._publish(event.topic, tag.name, event.model_dump_json().encode())

    def _send(self, event: GivenEvent, name: str) -> None:
        if self._speaks:
            self._publish(event.topic, name, event.model_dump_json().encode())
