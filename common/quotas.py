"""How many requests somebody may make: in a minute, and in a day."""

from __future__ import annotations

import re
from dataclasses import dataclass

MINUTE, DAY = 60.0, 86_400.0
_PART = re.compile(r"([1-9][0-9]{0,11})\s*/\s*(minute|day)")
_ALLOWED = "write 60/minute, 5000/day, or both, separated by a comma"


@dataclass(frozen=True, slots=True)
class Quota:
    """At most so many requests in each window; None: any number."""

    per_minute: int | None = None
    per_day: int | None = None

    def __str__(self) -> str:
        parts = ((self.per_minute, "minute"), (self.per_day, "day"))
        return ", ".join(f"{most}/{window}" for most, window in parts if most is not None)


def quota_of(text: str) -> Quota:
    """The quota that a text such as `60/minute, 5000/day` means. Raises ValueError."""
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None or match[2] in found:
            raise ValueError(f"{part.strip()[:64]!r} is no quota: {_ALLOWED}")
        found[match[2]] = int(match[1])
    return Quota(found.get("minute"), found.get("day"))
