"""How an object store is reached."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How an object store is reached; a folder needs none of it.

    `endpoint` is its URL (None: that of Amazon S3). Plain HTTP is used only with `allow_http`. `seconds` is
    how long one call to it may take.
    """

    endpoint: str | None = None
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    region: str = "us-east-1"
    allow_http: bool = False
    seconds: float = 5.0
