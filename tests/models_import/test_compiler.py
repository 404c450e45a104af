"""Versions are compiled by child processes that may die at any point; only whole, equal entries are left."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper

from hotswap.repository import Artifact
from models_import.background_compiler import BackgroundCompiler
from models_import.compiler import CompileOutcome, Compiler
from models_import.errors import ImportRefused
from runners.loader import OnnxLoader
from runners.recorded_answers import RecordedSession
from tests.builders import write_version
from tests.models_import.shop import bring
from tests.runners.graphs import as_model
from tests.runners.tensor_graphs import GENERIC, mixed
from tests.support.compiled import Cache, all_outputs, compilable, settled

#: Each starts a process that imports much, at low priority.
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "compiled")


def version(folder: Path, model: Any, config: dict[str, Any]) -> Artifact:
    place = folder / "thing" / "v1"
    place.mkdir(parents=True)
    (place / "weights.onnx").write_bytes(model.SerializeToString())
    (place / "config.json").write_text(json.dumps(config))
    return settled(place)


def test_a_version_is_compiled_once(cache: Cache, tmp_path: Path) -> None:
    artifact = compilable(tmp_path)
    assert [cache.compile(artifact) for _ in range(2)] == ["compiled", "known"]
    entry = cache.graphs.entry(artifact.digest)
    assert entry is not None
    assert entry.cost is not None
    assert entry.cost.shared_bytes >= 1 << 20
    assert entry.cost.own_bytes < 16 << 20
    assert {file.stat().st_mode & 0o777 for file in cache.entries()[0].iterdir()} == {0o444}
    assert cache.leftovers() == []


def test_a_version_without_pictures_is_compared_on_tensors(cache: Cache, tmp_path: Path) -> None:
    artifact = version(tmp_path, mixed(), GENERIC)
    assert cache.compile(artifact) == "compiled"
    runner = cache.load(artifact)
    asked = {
        "a": np.array([[1, 2], [3, 4]], np.float32),
        "k": np.array([2**40, -1]),
        "flag": np.array([True]),
    }
    assert cache.outcomes == ["hit"]
    plain = OnnxLoader(max_pixels=1, thread_cap=1).load(artifact)
    assert all_outputs(runner, asked) == all_outputs(plain, asked)


def test_a_graph_that_never_answers_alike_is_refused_for_good(cache: Cache, tmp_path: Path) -> None:
    noise = helper.make_node("RandomNormalLike", ["x"], ["y"], dtype=TensorProto.FLOAT)
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    model = as_model(helper.make_graph([noise], "noise", tensor[:1], tensor[1:]))
    artifact = version(tmp_path, model, GENERIC)
    assert [cache.compile(artifact) for _ in range(2)] == ["refused", "known"]
    entry = cache.graphs.entry(artifact.digest)
    assert entry is not None
    assert "otherwise" in (entry.refusal or "")
    assert [file.name for file in cache.entries()[0].iterdir()] == ["compiled.json"]
    cache.load(artifact)
    assert (cache.outcomes, cache.wanted) == (["refused"], [])


def test_a_version_that_cannot_answer_is_refused_with_its_reason(cache: Cache, tmp_path: Path) -> None:
    artifact = settled(write_version(tmp_path, "code", "v1", 1, best=float("nan")))
    outcome = Compiler(cache.graphs).compile(artifact)
    assert outcome.kind == "refused"
    assert "NaN" in (outcome.reason or "")


@pytest.mark.parametrize("when", ["at once", "graph-0.data"])
def test_a_compile_whose_process_is_killed_leaves_nothing_and_is_tried_again(
    cache: Cache, tmp_path: Path, when: str
) -> None:
    artifact = compilable(tmp_path, ballast=8 << 20)
    outcomes: list[str] = []
    thread = threading.Thread(target=lambda: outcomes.append(cache.compile(artifact)))
    thread.start()
    _kill_children(lambda: when == "at once" or any(cache.folder.glob(f".staged-*/{when}")))
    thread.join()
    assert (outcomes, cache.entries(), cache.leftovers()) == (["failed"], [], [])
    assert cache.compile(artifact) == "compiled"


def _kill_children(ready: Callable[[], bool]) -> None:
    """Kill the compile's processes as soon as there are some and `ready` says so."""
    while not (ready() and _compiles()):
        time.sleep(0.001)
    for process in _compiles():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _compiles(parent: int | None = None) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "models_import.compile_process" in process.cmdline():
                found.append(process)
    return found


@pytest.mark.parametrize("last", ["make", "describe", "publish"])
def test_a_compiler_that_is_killed_leaves_what_the_next_one_sweeps(
    cache: Cache, tmp_path: Path, last: str
) -> None:
    artifact = compilable(tmp_path)

    def compile_and_die() -> None:
        def at(step: str) -> None:
            if step == last:
                os.kill(os.getpid(), signal.SIGKILL)

        Compiler(cache.graphs, at=at).compile(artifact)

    process = multiprocessing.get_context("fork").Process(target=compile_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert cache.entries() == []
    assert cache.compile(artifact) == "compiled"
    assert cache.leftovers() == []


def endless(folder: Path) -> Artifact:
    """A version whose graph is a pipe that nobody writes: who opens it waits for ever."""
    artifact = compilable(folder)
    artifact.weights.unlink()
    os.mkfifo(artifact.weights)
    return artifact


def test_the_processes_of_a_compile_end_with_their_parent(cache: Cache, tmp_path: Path) -> None:
    artifact = endless(tmp_path)
    parent = multiprocessing.get_context("fork").Process(target=lambda: cache.compile(artifact))
    parent.start()
    while len(_compiles(parent.pid)) < 2:
        time.sleep(0.01)
    children = _compiles(parent.pid)
    parent.kill()
    parent.join()
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_an_import_compiles_before_it_publishes_and_never_fails_by_it(
    home: Path, cache: Cache, tmp_path: Path
) -> None:
    outcomes: list[tuple[str, bool]] = []
    store = home / "models" / "code"

    def compile_version(artifact: Artifact) -> None:
        outcomes.append((cache.compile(artifact), (store / artifact.tag.version).exists()))

    bring(home, write_version(tmp_path, "code", "v1", 1), compile_version=compile_version)
    cache.folder.rename(tmp_path / "away")
    cache.folder.write_text("no folder")
    bring(home, write_version(tmp_path, "code", "v2", 2), compile_version=compile_version)
    assert outcomes == [("compiled", False), ("failed", False)]
    assert (store / "v2").is_dir()


def test_a_refused_import_compiles_nothing(home: Path, tmp_path: Path) -> None:
    def never(artifact: Artifact) -> None:
        pytest.fail(f"compiled {artifact.tag}")

    folder = write_version(tmp_path, "code", "v1", 1, config={"labels": "none"})
    with pytest.raises(ImportRefused):
        bring(home, folder, compile_version=never)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "full while it is written"])
def test_a_full_disk_leaves_nothing_and_is_told(small: Path, tmp_path: Path, seen: bool) -> None:
    artifact, cache = compilable(tmp_path, ballast=14 << 20), Cache(small / "compiled")
    room = iter([10**9, 0])
    compiler = Compiler(cache.graphs, free_bytes=None if seen else lambda: next(room))
    outcome = compiler.compile(artifact)
    assert (outcome.kind, cache.entries(), cache.leftovers()) == ("failed", [], [])
    assert ("free" in (outcome.reason or "")) == seen
    cache.load(artifact)
    assert cache.outcomes == ["miss"]


def test_a_compile_that_takes_too_long_is_ended_and_refused(cache: Cache, tmp_path: Path) -> None:
    outcome = Compiler(cache.graphs, limit=0.05).compile(compilable(tmp_path))
    assert outcome.kind == "refused"
    assert "0.05 s" in (outcome.reason or "")
    assert _compiles() == []


class Slow(Compiler):
    """Compiles nothing, one after the other, when it is let."""

    def __init__(self, *outcomes: str) -> None:
        self.left = list(outcomes)
        self.asked: list[str] = []
        self.stopped = False
        self.idle = threading.Event()

    def compile(self, artifact: Artifact, wait: float = 0.0) -> CompileOutcome:
        self.asked.append(artifact.tag.version)
        if not (kind := self.left.pop(0)):
            raise RuntimeError("a fault")
        if not self.left:
            self.idle.set()
        return CompileOutcome(kind)  # type: ignore[arg-type]

    def stop(self) -> None:
        self.stopped = True


def test_the_background_tries_again_what_another_worker_kept_it_from(tmp_path: Path) -> None:
    first, second = (compilable(tmp_path, number, version=f"v{number}") for number in (1, 2))
    compiler = Slow("busy", "", "compiled")
    background = BackgroundCompiler(compiler, pause=0)
    background.add(first)
    background.add(second)
    background.start()
    assert compiler.idle.wait(30)
    background.stop(30)
    assert (compiler.asked, compiler.stopped) == (["v1", "v2", "v1"], True)


def test_a_worker_that_ends_ends_its_compile(cache: Cache, tmp_path: Path) -> None:
    background = BackgroundCompiler(Compiler(cache.graphs), pause=0)
    background.add(endless(tmp_path))
    background.start()
    while len(_compiles()) < 2:
        time.sleep(0.01)
    background.stop(60)
    assert (_compiles(), cache.entries(), cache.leftovers()) == ([], [], [])


def test_several_processes_compile_a_version_once(cache: Cache, tmp_path: Path) -> None:
    artifact = compilable(tmp_path)
    context = multiprocessing.get_context("fork")
    kinds = context.Queue()

    def work() -> None:
        kinds.put(Compiler(cache.graphs).compile(artifact, wait=120).kind)

    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = sorted(kinds.get() for _ in workers)
    for worker in workers:
        worker.join()
    assert found == ["compiled", "known", "known"]
    with cache.graphs.locked():
        assert Compiler(cache.graphs).compile(compilable(tmp_path, 2, version="v2")).kind == "busy"


def test_all_outputs_are_recorded_also_those_that_nobody_asks_for() -> None:
    class Two:
        def get_outputs(self) -> list[Any]:
            return [type("Output", (), {"name": name}) for name in ("a", "b")]

        def run(self, names: list[str], inputs: Any, options: Any) -> list[Any]:
            return [np.zeros(1) if name == "a" else np.ones(1) for name in names]

    answers: dict[str, str] = {}
    RecordedSession(Two(), answers).run(["a"], {"x": np.zeros(1)})
    assert len(answers) == 2
