"""The loader's threads."""

from __future__ import annotations

import os
import threading

from hotswap.threads import LoaderThreads
from tests.hotswap.fakes import PATIENCE, Hold


def test_tasks_run_one_after_the_other_in_one_thread_and_closing_finishes_them() -> None:
    background, hold = LoaderThreads(), Hold()
    ran: list[tuple[int, str]] = []
    background.submit(hold.stop_here)
    for number in range(5):
        background.submit(lambda number=number: ran.append((number, threading.current_thread().name)))
    hold.reached()
    assert ran == []
    hold.let_go()
    background.close(PATIENCE)
    assert ran == [(number, "okawari-loader") for number in range(5)]


def test_a_task_that_raises_ends_only_itself() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    background, ran = LoaderThreads(), list[str]()
    background.submit(broken)
    background.submit(lambda: ran.append("next"))
    background.close(PATIENCE)
    assert ran == ["next"]


def test_an_urgent_task_waits_for_no_other_and_is_finished_at_the_end() -> None:
    background, hold = LoaderThreads(), Hold()
    ran: list[str] = []
    background.submit(hold.stop_here)
    hold.reached()
    done = threading.Event()
    background.submit(lambda: ran.append(threading.current_thread().name), urgent=True)
    background.submit(done.set, urgent=True)
    assert done.wait(PATIENCE)
    assert ran == ["okawari-urgent-loader"]
    background.submit(lambda: ran.append("last"), urgent=True)
    hold.let_go()
    background.close(PATIENCE)
    assert ran[-1] == "last"


def test_urgent_tasks_do_not_wait_for_each_other() -> None:
    """A long load for one request holds up neither that for another, nor the close that gives it room."""
    background, hold, done = LoaderThreads(), Hold(), threading.Event()
    for _ in range(2):
        background.submit(hold.stop_here, urgent=True)
        hold.reached()
    background.submit(done.set, urgent=True)
    assert done.wait(PATIENCE)
    hold.let_go()
    background.close(PATIENCE)


def test_only_patient_tasks_give_way_to_requests() -> None:
    """Linux counts niceness by thread."""
    background = LoaderThreads(niceness=7)
    before, seen = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), dict[bool, int]()
    for urgent in (False, True):

        def look(urgent: bool = urgent) -> None:
            seen[urgent] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        background.submit(look, urgent=urgent)
    background.close(PATIENCE)
    assert seen == {False: 7, True: before}


def test_an_urgent_task_is_so_whoever_submits_it() -> None:
    """A thread inherits the priority of who starts it."""
    background, seen = LoaderThreads(niceness=7), list[int]()
    before, done = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), threading.Event()

    def look() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        done.set()

    background.submit(lambda: background.submit(look, urgent=True))
    assert done.wait(PATIENCE)
    background.close(PATIENCE)
    assert seen == [before]
