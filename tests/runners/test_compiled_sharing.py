"""Weights of a compiled version are in memory once for all processes that have loaded it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from common.process_memory import ProcessMemory
from hotswap.repository import Artifact
from tests.e2e.sizes import FULL_SIZE
from tests.support.compiled import Cache, compilable, settled
from tests.support.weighty_model import write_weighty

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

SIZE = 100_000_000


def _load_and_wait(cache: Cache, artifact: Artifact, told: Connection) -> None:
    before = ProcessMemory.now()
    runner = cache.load(artifact)
    told.send((ProcessMemory.now().grown_since(before), cache.outcomes))
    told.recv()
    runner.close()


def _proportional(pid: int | None, folder: Path) -> int:
    """Bytes of the files below a folder in a process, each page divided by those that have it (PSS)."""
    total, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            counts = str(folder) in line
        elif counts and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_a_second_process_adds_less_than_a_quarter_of_the_weights(tmp_path: Path) -> None:
    artifact = settled(write_weighty(tmp_path / "code" / "v1", SIZE))
    cache = Cache(tmp_path / "compiled")
    assert cache.compile(artifact) == "compiled"
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    loads = [context.Process(target=_load_and_wait, args=(cache, artifact, there)) for _, there in pipes]
    for process in loads:
        process.start()
    grown = [here.recv() for here, _ in pipes]
    mapped = [_proportional(process.pid, cache.folder) for process in loads]
    for (here, _), process in zip(pipes, loads, strict=True):
        here.send("end")
        process.join()
    assert [outcomes for _, outcomes in grown] == [["hit"], ["hit"]]
    own = max(memory.own for memory, _ in grown)
    assert 0.9 * SIZE < sum(mapped) < 1.1 * SIZE
    assert own < 0.25 * SIZE
    footprint = cache.graphs.footprint(artifact.digest)
    assert footprint is not None
    assert 0.9 * SIZE < footprint.shared < 1.1 * SIZE
    assert footprint.own < 0.25 * SIZE


def _load_in_turn(cache: Cache, artifacts: list[Artifact], loads: int, told: Connection) -> None:
    own = []
    for number in range(loads):
        cache.load(artifacts[number % 2]).close()
        own.append(ProcessMemory.now().own)
    told.send((own, set(cache.outcomes)))


def test_many_loads_in_turn_leave_no_memory(tmp_path: Path) -> None:
    """Without returning free heap pages to the system in between, in a process that has done nothing else."""
    size = SIZE if FULL_SIZE else SIZE // 4
    artifacts = [compilable(tmp_path, number, ballast=size, version=f"v{number}") for number in (1, 2)]
    cache = Cache(tmp_path / "compiled")
    assert [cache.compile(each) for each in artifacts] == ["compiled"] * 2
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_load_in_turn, args=(cache, artifacts, 200 if FULL_SIZE else 80, there))
    process.start()
    own, outcomes = here.recv()
    process.join()
    assert outcomes == {"hit"}
    assert min(own[-20:]) - min(own[20:40]) < 0.02 * SIZE
