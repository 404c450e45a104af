"""The published schemas are those that are read and written, and version 1 takes what it has always taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from streaming.event_shapes import (
    EVENTS,
    EmbeddingGenerated,
    ImageRegistered,
    ModelEvicted,
    ModelLoaded,
    ModelRejected,
    ModelSwapped,
    RetrainRecorded,
    RetrainRequested,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
#: Events as they were when version 1 was published: they are taken for ever.
OLD = {
    ImageRegistered: {"image_metadata_id": "i-1", "owner_id": "o-1", "image_url": "https://a.example/1.jpg"},
    EmbeddingGenerated: {
        "image_metadata_id": "i-1",
        "vector_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "model_name": "clip",
        "model_version": "v1",
        "dimension": 512,
        "generation_time_ms": 12.5,
    },
    RetrainRequested: {"model_name": "clip"},
    RetrainRecorded: {
        "request_id": "model.retrain.requested.v1-0-7",
        "model_name": "clip",
        "offered_to": "webhook",
    },
    ModelLoaded: {
        "model_name": "clip",
        "model_version": "v1",
        "digest": "sha256:ab",
        "memory_mb": 600.0,
        "warmup_time_ms": 50.0,
    },
    ModelSwapped: {
        "model_name": "clip",
        "previous_version": "v1",
        "model_version": "v2",
        "digest": "sha256:cd",
        "generation": 2,
        "actor": "cli:ana",
        "reason": None,
    },
    ModelRejected: {"model_name": "clip", "model_version": "v3", "reason": "self-check on noise: NaN"},
    ModelEvicted: {
        "model_name": "clip",
        "model_version": "v2",
        "reason": "makes room for dinov2",
        "memory_mb": 600.0,
        "idle_seconds": 12.5,
    },
}


@pytest.mark.parametrize("shape", EVENTS, ids=lambda each: each.topic)
def test_the_published_schema_is_the_one_in_use(shape: type[BaseModel]) -> None:
    topic = shape.topic  # type: ignore[attr-defined]
    published = json.loads((SCHEMAS / f"{topic}.json").read_text())
    assert published == {"$id": topic, **shape.model_json_schema()}


@pytest.mark.parametrize("shape", EVENTS, ids=lambda each: each.topic)
def test_what_was_an_event_is_one(shape: type[BaseModel]) -> None:
    assert shape.model_validate(OLD[shape])  # type: ignore[index]


def test_what_is_taken_may_have_more_and_what_is_given_may_not() -> None:
    assert ImageRegistered.model_validate(OLD[ImageRegistered] | {"more": 1, "content_type": "image/png"})
    with pytest.raises(ValidationError):
        EmbeddingGenerated.model_validate(OLD[EmbeddingGenerated] | {"more": 1})
