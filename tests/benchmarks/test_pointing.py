"""What the bench says of ten points on one picture."""

from __future__ import annotations

from benchmarks.pointing import PointsResult

_FIRST = {"decode": 30.0, "preprocess": 20.0, "inference": 300.0, "postprocess": 9.0}
_LATER = {"decode": 0.0, "preprocess": 0.0, "inference": 20.0, "postprocess": 10.0}


def test_runs_of_the_encoder_are_told_by_the_timings() -> None:
    once = PointsResult("smooth", (400, 40, 40), (380, 30, 30), (_FIRST, _LATER, _LATER))
    assert (once.encoder_runs, once.decoder.median, once.mask.high) == (1, 20.0, 10.0)
    assert (once.over_alone.median, once.next_of_first.median) == (10, 0.1)
    assert PointsResult("smooth", (400, 400), (380, 30), (_FIRST, _FIRST)).encoder_runs == 2
