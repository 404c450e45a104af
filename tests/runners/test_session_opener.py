"""The threads that run a model have the priority of requests, though the loader's thread brought it in."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from hotswap.errors import VersionFailed
from hotswap.threads import LoaderThread
from runners.loader import OnnxLoader
from tests.runners.graphs import CLASSIFIER, artifact, constant_graph
from tests.runners.runs import SCORES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts niceness by thread")


@pytest.fixture
def thread():
    made = LoaderThread(niceness=10)
    yield made
    made.close(5.0)


def loaded(thread, loader, found):
    """What the loader's thread makes of a version, or its error."""
    results, ended = [], threading.Event()

    def load():
        try:
            results.append(loader.load(found))
        except VersionFailed as error:
            results.append(error)
        ended.set()

    thread.submit(load)
    assert ended.wait(30.0)
    return results[0]


def threads_now():
    return {int(each.name) for each in Path("/proc/self/task").iterdir()}


def test_threads_of_a_session_run_with_the_priority_of_requests(tmp_path, thread):
    found = artifact(tmp_path, constant_graph(SCORES), CLASSIFIER | {"resources": {"threads": 3}})
    loader = OnnxLoader(max_pixels=1000, thread_cap=3)
    before = threads_now()
    runner = loaded(thread, loader, found)
    started = threads_now() - before
    assert len(started) == 2  # the third is the one that asks
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in started} == {mine}
    runner.close()


def test_what_cannot_be_opened_is_told_as_ever(tmp_path, thread):
    found = artifact(tmp_path, b"not a graph", CLASSIFIER | {"resources": {"threads": 2}})
    error = loaded(thread, OnnxLoader(max_pixels=1000, thread_cap=2), found)
    assert "weights.onnx cannot be loaded" in str(error)


def test_a_service_whose_models_have_one_thread_starts_no_other(tmp_path):
    before = threads_now()
    OnnxLoader(max_pixels=1000, thread_cap=1).load(artifact(tmp_path, constant_graph(SCORES), CLASSIFIER))
    assert threads_now() == before
