"""When a lost worker is replaced, by a clock in the hand."""

from __future__ import annotations

import asyncio
import itertools

from workers.supervisor import AT_ONCE, IN_VAIN, ONE_MORE, Replacements, _spawning


class Watcher:
    """As much of the process manager's watcher as is asked of it; processes end as the test says."""

    def __init__(self, numprocesses: int) -> None:
        self.numprocesses = numprocesses
        self.processes: dict[int, object] = {}
        self.started = 0
        self.stopped = False

    def spawn_process(self) -> None:
        self.started += 1
        self.processes[self.started] = object()

    async def spawn_processes(self) -> None:
        while len(self.processes) < self.numprocesses:
            self.spawn_process()

    async def _stop(self) -> None:
        self.stopped = True


def test_lost_workers_are_replaced_at_once() -> None:
    assert Replacements().allowed(3, 1000.0) == 3


def test_what_dies_again_and_again_is_replaced_ever_so_often_and_no_more() -> None:
    replacements = Replacements()
    started = [replacements.allowed(1, float(second)) for second in range(1000)]
    assert sum(started[:AT_ONCE]) == AT_ONCE
    assert sum(started[AT_ONCE:]) <= 1000 / ONE_MORE
    assert sum(started[900:]) > 0


def test_a_quiet_time_lets_many_be_replaced_at_once_again() -> None:
    replacements = Replacements()
    assert replacements.allowed(AT_ONCE + 5, 0.0) == AT_ONCE
    assert replacements.allowed(5, 1.0) == 0
    assert replacements.allowed(100, 1.0 + AT_ONCE * ONE_MORE) == AT_ONCE
    assert replacements.allowed(100, 1e9) == AT_ONCE


def test_starts_in_vain_end_the_service_when_nobody_lives() -> None:
    replacements = Replacements()
    for _ in range(IN_VAIN):
        assert not replacements.hopeless(0)
        replacements.lost(came_up=0)
    assert replacements.hopeless(0)
    assert not replacements.hopeless(1)


def test_one_that_came_up_gives_hope_again() -> None:
    replacements = Replacements()
    for came_up in (5, 5, 7, 7):
        replacements.lost(came_up)
    assert not replacements.hopeless(0)
    replacements.lost(7)
    assert replacements.hopeless(0)


def test_when_all_are_lost_no_more_are_started_than_when_some_are() -> None:
    watcher, hopeful = Watcher(numprocesses=2), itertools.count()
    look = _spawning(Watcher.spawn_processes, Replacements(), lambda: next(hopeful), lambda: 0.0)
    for _ in range(AT_ONCE):
        asyncio.run(look(watcher))
        watcher.processes.clear()
    assert (watcher.started, watcher.stopped) == (2 + AT_ONCE, False)
