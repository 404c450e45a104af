"""Whether answers came in the order of the versions, over all workers and connections."""

from __future__ import annotations

from collections.abc import Iterable

from tests.e2e.load import Shot


def goes_back(shots: Iterable[Shot]) -> list[tuple[Shot, Shot]]:
    """Pairs of an answer, and one of an older version that was *asked for* after the first was given.

    Versions `v<n>` must have come to serve in the order of their numbers.
    """
    answered = [shot for shot in shots if shot.status == 200]
    by_end = iter(sorted(answered, key=lambda shot: shot.ended))
    upcoming = next(by_end, None)
    newest: Shot | None = None
    found = []
    for shot in sorted(answered, key=lambda shot: shot.begun):
        while upcoming is not None and upcoming.ended < shot.begun:
            if newest is None or number(upcoming) > number(newest):
                newest = upcoming
            upcoming = next(by_end, None)
        if newest is not None and number(shot) < number(newest):
            found.append((newest, shot))
    return found


def number(shot: Shot) -> int:
    """The version's number."""
    return int((shot.claimed or "v0")[1:])
