"""What every test may use."""

from __future__ import annotations

import functools
import gc
import multiprocessing.util
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A process that has served with gRPC keeps a thread in it, and its handlers of forks then abort or hang what
# is forked. Services that tests start have these handlers, as everywhere: see `harness.environment`.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

_STARTS: list[tuple[Any, str]] = [
    (subprocess.Popen, "__init__"),
    (multiprocessing.util, "spawnv_passfds"),
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (os, "system"),
]
#: Whether processes may start: without a test, and in the one that runs.
_marks = [True]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`auto`: twice the cores, as a test with a service waits more than it works. `logical`: the cores."""
    cores = os.cpu_count() or 1
    return cores if config.option.numprocesses == "logical" else 2 * cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones come first, so that no process works alone in the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/e2e/", "tests/clients/")))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Ten thousand tests stay to the end: no search for garbage among them while they come."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """While a test runs that has no mark for it, no process starts."""
    _marks.append(any(item.iter_markers("process")) or any(item.iter_markers("e2e")))
    try:
        return (yield)
    finally:
        _marks.pop()


def _guarded(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def guarded(*arguments: Any, **options: Any) -> Any:
        if not _marks[-1]:
            raise AssertionError("who starts a process has the mark `process`, and is no part of `make unit`")
        return start(*arguments, **options)

    return guarded


# No audit hook: coverage sets a trace in each new thread, and a hook in Python lets two of them meet there.
for _owner, _name in _STARTS:
    setattr(_owner, _name, _guarded(getattr(_owner, _name)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: some hold the time, and an id is the same in every process."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def anyio_backend() -> str:
    """Coroutines run on asyncio, as in the service."""
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> Iterator[None]:
    """Every close of a model collects garbage: what was loaded before need not be searched each time."""
    gc.freeze()
    yield
    gc.unfreeze()
