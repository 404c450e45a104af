"""What of a partition may be written: the first messages, as far as all have their outcome."""

from __future__ import annotations

import random

from streaming.messages import OutgoingRecord
from streaming.windows import PartitionWindow


def _outcome(offset: int) -> OutgoingRecord:
    return OutgoingRecord("results", str(offset).encode())


def test_nothing_is_written_before_the_first_message_is_done() -> None:
    window = PartitionWindow()
    for offset in (3, 4, 7):
        window.begin(offset)
    window.done(4, _outcome(4))
    assert not window.ready
    assert window.completed(10) == ([], None)
    window.done(3, _outcome(3))
    assert window.ready
    assert window.completed(10) == ([_outcome(3), _outcome(4)], 5)


def test_what_was_not_written_comes_again() -> None:
    window = PartitionWindow()
    window.begin(1)
    window.done(1, _outcome(1))
    assert window.completed(10) == window.completed(10)
    window.written(2)
    assert len(window) == 0
    assert window.completed(10) == ([], None)


def test_no_more_is_given_at_once_than_is_asked_for() -> None:
    window = PartitionWindow()
    for offset in range(5):
        window.begin(offset)
        window.done(offset, _outcome(offset))
    assert window.completed(2) == ([_outcome(0), _outcome(1)], 2)


def test_in_any_order_each_outcome_is_written_once_and_in_the_order_of_messages() -> None:
    chance = random.Random(5)
    for _ in range(50):
        window, written = PartitionWindow(), []
        offsets = sorted(chance.sample(range(100), 20))
        for offset in offsets:
            window.begin(offset)
        for offset in chance.sample(offsets, len(offsets)):
            window.done(offset, _outcome(offset))
            outcomes, behind = window.completed(chance.randint(1, 6))
            if behind is not None and chance.random() < 0.7:
                written += [int(one.value or b"") for one in outcomes]
                window.written(behind)
        while len(window):
            outcomes, behind = window.completed(6)
            assert behind is not None
            written += [int(one.value or b"") for one in outcomes]
            window.written(behind)
        assert written == offsets


def test_a_log_that_begins_anew_is_seen() -> None:
    window = PartitionWindow()
    assert window.begin(990)
    assert not window.begin(0)
    assert not window.begin(990)
    assert (window.begin(991), len(window)) == (True, 2)
