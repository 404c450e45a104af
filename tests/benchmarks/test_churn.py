"""A round in the storm is compared with the quiet one before it."""

from __future__ import annotations

import pytest

from benchmarks.batching import BatchingResult
from benchmarks.churn import ChurnResult
from benchmarks.client import Done, Load
from benchmarks.steady import Loaded


def load(*milliseconds: float, failed: int = 0) -> Load:
    """Answers of so many milliseconds, all within a second."""
    done = tuple(Done(0.0, each / 1e3, 200, "v1") for each in milliseconds)
    return Load(done, 1.0, 0.1, 0, failed)


def test_each_storm_is_divided_by_the_quiet_round_before_it() -> None:
    result = ChurnResult(1, 59.0, [load(10, 20), load(5, 10)], [load(10, 30, failed=1), load(5, 40)])
    assert (result.ratio(0.99).low, result.ratio(0.99).high) == pytest.approx((1.5, 4.0))
    assert result.ratio(0.5).median == pytest.approx(1.0)
    assert result.throughput.median == pytest.approx(1.0)
    assert result.failed == 1


def test_each_variant_is_divided_by_requests_alone_of_its_round() -> None:
    result = BatchingResult("m")
    result.runs["alone"] = [Loaded(load(10, 10), (0.2,)), Loaded(load(20, 20), (0.4,))]
    result.runs["batch 8"] = [Loaded(load(5, 5), (0.1,)), Loaded(load(5, 5, 5, 5), (0.1,))]
    assert result.of_alone("batch 8", lambda run: run.load.rate).high == pytest.approx(2.0)
    cpu = result.of_alone("batch 8", lambda run: run.cpu_ms)
    assert (cpu.low, cpu.high) == pytest.approx((0.125, 0.5))
