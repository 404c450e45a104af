"""The figures of a start are taken beside a plain Python of the same round."""

from __future__ import annotations

import pytest

from benchmarks.starting import StartResult


def test_each_start_is_divided_by_the_plain_one_of_its_round() -> None:
    result = StartResult(2, [4.0, 3.0], [300.0, 250.0], [1.0, 0.5], [50.0, 50.0])
    assert (result.start_ratio.low, result.start_ratio.high) == pytest.approx((4.0, 6.0))
    assert result.memory_ratio.median == pytest.approx(5.5)
