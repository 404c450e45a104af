"""When a lost worker is replaced, by a clock in the hand."""

from __future__ import annotations

import asyncio
import itertools

from workers.supervisor import IN_VAIN, PAUSE, Replacements, _spawning


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


def test_lost_workers_are_replaced_at_once_as_long_as_some_come_up() -> None:
    replacements = Replacements()
    for came_up in range(100):
        replacements.lost(came_up)
        assert replacements.begin(0.0)


def test_starts_in_vain_are_few() -> None:
    replacements, started = Replacements(), 0
    for second in range(1000):
        replacements.lost(came_up=7)
        started += replacements.begin(float(second))
    assert IN_VAIN + 1000 / PAUSE - 2 <= started <= IN_VAIN + 1000 / PAUSE + 1
    replacements.lost(came_up=8)
    assert replacements.begin(1000.0)


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


def test_all_that_are_missing_are_started_together() -> None:
    watcher, hopeful = Watcher(numprocesses=2), itertools.count()
    look = _spawning(Watcher.spawn_processes, Replacements(), lambda: next(hopeful), lambda: 0.0)
    for _ in range(11):
        asyncio.run(look(watcher))
        assert len(watcher.processes) == 2
        watcher.processes.clear()
    assert (watcher.started, watcher.stopped) == (22, False)


def test_a_service_whose_starts_are_in_vain_is_stopped() -> None:
    watcher = Watcher(numprocesses=1)
    look = _spawning(Watcher.spawn_processes, Replacements(), lambda: 0, lambda: 0.0)
    for _ in range(IN_VAIN + 1):
        assert not watcher.stopped
        asyncio.run(look(watcher))
        watcher.processes.clear()
    assert (watcher.started, watcher.stopped) == (IN_VAIN, True)
