"""Which requests count as touched by a swap."""

from __future__ import annotations

from benchmarks.client import Done, Load
from benchmarks.swapping import Swap, SwapResult

_SWAP = Swap(version="v2", begun=10.0, imported=11.0, first_new=11.2, last_old=11.3)


def _done(begun: float, took: float) -> Done:
    return Done(begun, begun + took, 200, "v1")


def _result(*done: Done) -> SwapResult:
    return SwapResult(1, Load(done, seconds=20.0, cpu_seconds=0.1, late=0, failed=0), (_SWAP,))


def test_the_window_reaches_from_the_start_of_the_import_to_the_end_of_the_old_version() -> None:
    before, into, within, out_of, after = (
        _done(9.0, 0.5),
        _done(9.9, 0.2),
        _done(10.5, 0.1),
        _done(11.7, 0.2),
        _done(11.9, 0.1),
    )
    result = _result(before, into, within, out_of, after)
    assert result.within(_SWAP) == [one.milliseconds for one in (into, within, out_of)]
    assert result.steady == [one.milliseconds for one in (before, after)]


def test_a_slow_request_in_the_window_shows_in_the_ratio() -> None:
    result = _result(*(_done(at / 10, 0.01) for at in range(80)), _done(10.5, 0.05))
    assert round(result.pooled_ratio, 6) == round(result.ratio.median, 6) == 5.0


def test_time_to_the_first_answer_counts_from_the_start_of_the_import() -> None:
    assert round(_SWAP.to_first_answer, 6) == 1.2
    assert round(_SWAP.after_import, 6) == 0.2
