"""The loader's thread."""

from __future__ import annotations

import threading

from hotswap.threads import LoaderThread
from tests.hotswap.fakes import PATIENCE, Hold


def test_tasks_run_one_after_the_other_in_one_thread_and_closing_finishes_them() -> None:
    background, hold = LoaderThread(), Hold()
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

    background, ran = LoaderThread(), list[str]()
    background.submit(broken)
    background.submit(lambda: ran.append("next"))
    background.close(PATIENCE)
    assert ran == ["next"]
