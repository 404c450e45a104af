"""Work in forks of a process that has imported everything and has one thread: a fork takes milliseconds."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

#: Seconds that one may take.
LIMIT = 60

#: Returns what is wrong.
Work = Callable[[], list[str]]


def status_of(work: Work, folder: Path) -> int:
    """Work in a fork; its exit status, or minus the signal that ended it. Its words stay in the folder."""
    pid = os.fork()
    if pid == 0:
        _work(work, folder)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def problems_of(work: Work, folder: Path) -> list[str]:
    """What work in a fork finds wrong; with its words, where there is anything."""
    status = status_of(work, folder)
    if status != 0:
        return [f"ended with {status}: {words_in(folder)}"]
    problems: list[str] = json.loads((folder / "problems").read_text())
    return [f"{problem}: {words_in(folder)}" for problem in problems]


def words_in(folder: Path) -> str:
    """The end of what the forks have said."""
    return (folder / "output").read_text()[-1500:]


def _work(work: Work, folder: Path) -> NoReturn:
    status = 1
    try:
        signal.alarm(LIMIT)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        (folder / "problems").write_text(json.dumps(work()))
        status = 0
    except BaseException:  # noqa: BLE001 - it must not go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
