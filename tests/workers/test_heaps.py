"""Threads share a few heaps, counted by glibc itself in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps of threads are glibc's"),
]
_COUNT = """
import ctypes, sys, threading
from workers.process import limit_heaps

if "limited" in sys.argv:
    limit_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.fopen.restype = ctypes.c_void_p
all_there = threading.Barrier(12)

def allocate():
    all_there.wait()
    blocks = [libc.malloc(1000) for _ in range(1000)]
    all_there.wait()
    for block in blocks:
        libc.free(block)

threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def _heaps(folder: Path, *words: str, **variables: str) -> int:
    written = folder / "heaps.xml"
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", _COUNT, str(written), *words],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", **variables},
        check=True,
        timeout=60,
    )
    return written.read_text().count("<heap nr=")


def test_a_dozen_threads_share_four_heaps(tmp_path: Path) -> None:
    assert _heaps(tmp_path) > 4
    assert _heaps(tmp_path, "limited") <= 4


def test_what_the_operator_says_of_heaps_holds(tmp_path: Path) -> None:
    assert _heaps(tmp_path, "limited", MALLOC_ARENA_MAX="7") > 4
