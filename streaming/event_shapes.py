"""The events that are taken and given: shapes of version 1, whose JSON Schemas are in `schemas/`.

What is taken may have further fields, so that its maker may add some; what is given has these alone. A field
is never removed and never changes its meaning: that would be version 2, on a topic of its own.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streaming.messages import MOST_BYTES, BadMessage

Name = Annotated[str, Field(min_length=1, max_length=255)]


class TakenEvent(BaseModel):
    """Base of what is taken."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())
    topic: ClassVar[str]


class GivenEvent(BaseModel):
    """Base of what is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    topic: ClassVar[str]


class ImageRegistered(TakenEvent):
    """A picture was registered; its vector is wanted."""

    topic = "image.metadata.registered.v1"

    image_metadata_id: Name
    owner_id: Name
    image_url: Annotated[str, Field(min_length=1, max_length=2_000)]
    content_type: Annotated[str, Field(max_length=255)] | None = None


class RetrainRequested(TakenEvent):
    """Someone wants a model trained anew."""

    topic = "model.retrain.requested.v1"

    model_name: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
    reason: Annotated[str, Field(max_length=1_000)] | None = None
    requested_by: Annotated[str, Field(max_length=255)] | None = None


class RetrainRecorded(GivenEvent):
    """The request is in the audit log, and was handed on."""

    topic = "model.retrain.recorded.v1"

    request_id: Name = Field(description="topic, partition and offset of the request")
    model_name: Name
    offered_to: str | None = Field(description="command or webhook; null where none is configured")


class EmbeddingGenerated(GivenEvent):
    """The vector of a picture is in the store."""

    topic = "embedding.generated.v1"

    image_metadata_id: Name
    vector_id: Name = Field(description="a UUID, the same for the same picture and model")
    model_name: Name
    model_version: Name
    dimension: Annotated[int, Field(ge=1)]
    generation_time_ms: Annotated[float, Field(ge=0)]


class ModelLoaded(GivenEvent):
    """A version is in memory, checked, and may answer."""

    topic = "model.loaded.v1"

    model_name: Name
    model_version: Name
    digest: Name
    memory_mb: Annotated[float, Field(ge=0)] | None = Field(description="null where it was never measured")
    warmup_time_ms: Annotated[float, Field(ge=0)]


class ModelSwapped(GivenEvent):
    """Another version answers, in all workers; null: none does."""

    topic = "model.swapped.v1"

    model_name: Name
    previous_version: Name | None
    model_version: Name | None
    digest: Name | None
    generation: Annotated[int, Field(ge=0)]
    actor: str | None
    reason: str | None


class ModelRejected(GivenEvent):
    """A version failed, and does not answer."""

    topic = "model.rejected.v1"

    model_name: Name
    model_version: Name
    reason: str


class ModelEvicted(GivenEvent):
    """A version has left memory for another."""

    topic = "model.evicted.v1"

    model_name: Name
    model_version: Name
    reason: str
    memory_mb: Annotated[float, Field(ge=0)]
    idle_seconds: Annotated[float, Field(ge=0)]


EVENTS: tuple[type[TakenEvent] | type[GivenEvent], ...] = (
    ImageRegistered,
    EmbeddingGenerated,
    RetrainRequested,
    RetrainRecorded,
    ModelLoaded,
    ModelSwapped,
    ModelRejected,
    ModelEvicted,
)


_Taken = TypeVar("_Taken", bound=TakenEvent)


def read_event(shape: type[_Taken], value: bytes | None) -> _Taken:
    """An event of this shape. Raises `BadMessage` naming the field."""
    if value is None or len(value) > MOST_BYTES:
        raise BadMessage("invalid_event", f"the event should have 1 to {MOST_BYTES} bytes")
    try:
        return shape.model_validate(json.loads(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadMessage("invalid_event", f"{place or 'the event'}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise BadMessage("invalid_event", f"the event is no JSON: {str(error)[:200]}") from None
