"""What happens to versions, as events for others: once for the service, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable

from hotswap.events import LoadedVersion, Observer, Swap
from manifest.tags import ModelTag
from streaming.event_shapes import GivenEvent, ModelEvicted, ModelLoaded, ModelRejected, ModelSwapped

_LONGEST = 2_000

#: Sends topic, key and value; never waits.
Publish = Callable[[str, str, bytes], None]


class ModelEvents(Observer):
    """Publishes them. All workers see the same versions come and go: `speaks` says whether this one tells."""

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
