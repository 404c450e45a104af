"""What the parts of a config share: their base, and the types of fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Most labels of a config, and most characters of one.
MOST_LABELS = 100_000
LONGEST_LABEL = 200
Label = Annotated[str, Field(max_length=LONGEST_LABEL)]
Unit = Annotated[float, Field(ge=0, le=1)]


class ConfigPart(BaseModel):
    """Base of all parts: unknown fields are refused, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
