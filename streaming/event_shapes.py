"""The events that are taken and given: shapes of version 1, whose JSON Schemas are in `schemas/`.

What is taken may have further fields, so that its maker may add some; what is given has these alone. A field
is never removed and never changes its meaning: that would be version 2, on a topic of its own.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

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
    ModelLoaded,
    ModelSwapped,
    ModelRejected,
    ModelEvicted,
)
