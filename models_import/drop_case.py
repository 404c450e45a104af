"""What is known of one version in a drop folder, and what is to be done with it next. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from models_import.settling import QUIET_SECONDS
from models_import.stamps import Stamp

#: Seconds without any change after which what cannot be imported gets its note.
SETTLED_SECONDS = 10.0

Step = Literal["rest", "try", "note"]


@dataclass(slots=True)
class Case:
    """What is known of one version, as its files are since `since`.

    `reason` is why it did not come in, `retry_at` when it is tried again although nothing changed; `tries`
    counts since it last came in, `noted` says that its note was written, or could not be.
    """

    stamp: str
    since: float
    tries: int = 0
    reason: str | None = None
    retry_at: float = math.inf
    placed: Stamp | None = None
    done: bool = False
    noted: bool = False


def decide(case: Case, lacks: str | None) -> tuple[Step, float]:
    """What is to be done with a version next, and when."""
    if case.done:
        return "rest", math.inf
    if lacks is None and case.reason is None:
        # Who copies with long stops is not tried at each of them.
        return "try", case.since + min(SETTLED_SECONDS, QUIET_SECONDS * 2 ** min(case.tries, 10))
    note_at = math.inf if case.noted else case.since + SETTLED_SECONDS
    if lacks is None and case.retry_at < note_at:
        return "try", case.retry_at
    return ("note", note_at) if note_at < math.inf else ("rest", math.inf)
