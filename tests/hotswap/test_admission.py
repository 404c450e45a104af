"""Whether one more request may enter."""

from __future__ import annotations

import threading

import pytest

from hotswap.admission import Admission, Permit
from hotswap.errors import Overloaded


def test_as_many_enter_as_there_are_places_and_the_next_is_told_at_once() -> None:
    admission = Admission(2)
    permits = [admission.enter(), admission.enter()]
    assert admission.full
    with pytest.raises(Overloaded, match="all 2 places"):
        admission.enter()
    permits[0].release()
    assert not admission.full
    admission.enter()
    assert admission.inside == 2


def test_a_permit_gives_back_one_place_however_often_it_is_released() -> None:
    admission = Admission(2)
    first, _ = admission.enter(), admission.enter()
    first.release()
    first.release()
    assert admission.inside == 1


def test_threads_that_enter_and_leave_lose_no_place_and_find_none_too_many() -> None:
    admission, start = Admission(3), threading.Barrier(4)
    most: list[int] = []

    def visitor() -> None:
        start.wait(20)
        for _ in range(2000):
            try:
                permit: Permit = admission.enter()
            except Overloaded:
                continue
            most.append(admission.inside)
            permit.release()

    threads = [threading.Thread(target=visitor) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert admission.inside == 0
    assert max(most) <= 3
