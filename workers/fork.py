"""In the master: workers are forked from it, and share the memory of all that it has imported.

The process manager executes a new Python for each worker. That takes seconds of imports, and the same
modules then lie in memory once for each worker. A forked child runs the same entry point at once.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from psutil import Popen, Process

#: How the command line of a worker begins, after the interpreter.
WORKER = ["-m", "_bentoml_impl.worker.service"]
#: What a worker imports when it starts. Imported before the fork, it takes time and memory once for all.
_OF_WORKERS = (
    "_bentoml_impl.server.app",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.sdk.trace.export",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


class ForkedWorker(Process):  # type: ignore[misc]
    """A forked child, with what the process manager uses of a `subprocess.Popen`."""

    returncode: int | None = None
    stdout = None
    stderr = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            except ChildProcessError:  # the process manager has waited for it already
                self.returncode = 0
        return self.returncode


def take_over() -> None:
    """From now on the process manager forks workers; call it before it is made.

    A service that reloads changed code goes on as before, since a forked worker would not read it again.
    Raises ImportError or AttributeError where the process manager has other parts than are known.
    """
    from circus import process

    if process.Popen is not Popen or not hasattr(importlib.import_module(WORKER[1]), "main"):
        raise AttributeError("circus.process.Popen")
    if "--reload" not in sys.argv and "--development" not in sys.argv:
        process.Popen = start


def import_for_workers() -> None:
    """Import what each worker would import when it starts; call it in the master before the first fork."""
    for name in _OF_WORKERS:
        with suppress(ImportError):  # where another release has it elsewhere, the worker imports it
            importlib.import_module(name)


def start(
    command: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    preexec_fn: Callable[[], None],
    **options: Any,
) -> Any:
    """Fork a worker; execute any other command, and one whose output is to be read."""
    if list(command[1:3]) != WORKER or {"stdout", "stderr"} & options.keys():
        return Popen(command, cwd=cwd, env=env, preexec_fn=preexec_fn, **options)
    gc.collect()
    gc.freeze()  # a collection in the child would touch, and so copy, what both share
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run(command, cwd, env, preexec_fn)
    return ForkedWorker(pid)


def _run(command: Sequence[str], cwd: str, env: Mapping[str, str], prepare: Callable[[], None]) -> NoReturn:
    """In the child: what executing the command would do. It never returns into the master's frames."""
    status = 1
    try:
        _forget_parent()
        prepare()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = list(command[2:])
        status = _code(importlib.import_module(WORKER[1]).main.main)
    except BaseException:  # noqa: BLE001 - it must end here, whatever it is
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _code(main: Callable[[], object]) -> int:
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0


def _forget_parent() -> None:
    """Let go of the event loop, signals and descriptors of the master, as execution does."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) and number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.set_event_loop(None)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # Objects of the master still name its descriptors, so that the numbers must not be given to others.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(link.name) for link in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # that of the listing itself
            if descriptor > 2 and not os.get_inheritable(descriptor):
                os.dup2(nothing, descriptor, inheritable=False)
