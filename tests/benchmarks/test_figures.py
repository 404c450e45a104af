"""Percentiles and spreads, told by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.figures import Spread, percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_no_value_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_a_spread_names_the_middle_and_both_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).text(1) == "2.0 (1.0-3.0)"


def test_one_round_has_no_spread_to_show() -> None:
    assert Spread.of([3.0]).text(1) == "3.0"
