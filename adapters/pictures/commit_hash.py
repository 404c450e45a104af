"""The id of a commit in a store that has none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256


def commit_hash(message: str, metadata: Mapping[str, str]) -> str:
    """64 hexadecimal digits, which are the same for the same commit, made again."""
    document = {"message": message, "metadata": dict(metadata)}
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
