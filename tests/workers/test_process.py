"""What a process asks of the system for itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="of glibc")]

#: Sixteen threads hold memory at once; then glibc describes its heaps on standard output.
_THREADS = """
import ctypes, sys, threading
from workers import process
if sys.argv[1:] == ["shared"]:
    process.share_heaps()
libc, all_in = ctypes.CDLL(None), threading.Barrier(17)
libc.malloc.restype = ctypes.c_void_p
def hold():
    libc.malloc(50_000)
    all_in.wait()
    all_in.wait()
for _ in range(16):
    threading.Thread(target=hold).start()
all_in.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
all_in.wait()
"""


def _heaps(*words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _THREADS, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.count("<heap nr=")


def test_threads_share_as_many_heaps_as_there_are_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert _heaps("shared") <= max(2, cores)
    assert cores >= 16 or _heaps() > max(2, cores)
