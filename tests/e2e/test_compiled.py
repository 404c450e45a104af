"""A service compiles what it has loaded plainly, and its next start loads that, once for all workers."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import FULL_SIZE, LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.weighty_model import write_weighty

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

SIZE = 100_000_000 if FULL_SIZE else 40_000_000
COMPILED = {"OKAWARI_COMPILED_LIMIT": "4000000000"}


def _loads(service: Service, outcome: str) -> float:
    return service.figure("compiled_loads_total", model="m", outcome=outcome)


def _own(service: Service) -> int:
    """Bytes that only one worker has, of the worker that has most."""
    return max(int(psutil.Process(pid).memory_full_info().uss) for pid in service.pids())


def _data(home: Path) -> list[Path]:
    """The mapped weights of all entries that are whole."""
    return list((home / "compiled").glob("[!.]*/*.data"))


def test_the_second_start_loads_what_the_first_has_compiled(make_service: Start, store: Store) -> None:
    folder = store.source("v1", 1)
    write_weighty(folder, SIZE, 1)
    store.take(folder)
    first = make_service(store.home, WORKERS="2", **COMPILED).ready()
    assert first.predict().status_code == 200
    until(lambda: _data(store.home), "the version is compiled")
    plain = _own(first)
    until(lambda: (_loads(first, "miss"), _loads(first, "hit")) == (2, 0), "both workers have loaded it")
    assert first.stop() == 0

    second = make_service(store.home, WORKERS="2", **COMPILED).ready()
    assert [second.predict().status_code for _ in range(20)] == [200] * 20
    until(lambda: (_loads(second, "miss"), _loads(second, "hit")) == (0, 2), "both workers have mapped it")
    # Plainly each worker has the weights, and what their optimisation has left, for itself.
    assert plain - _own(second) > 0.75 * SIZE

    # A bad file: the next start loads plainly, answers, and compiles anew.
    assert second.stop() == 0
    (data,) = _data(store.home)
    data.chmod(0o644)
    os.truncate(data, 4096)
    third = make_service(store.home, WORKERS="1", **COMPILED).ready()
    assert third.predict().status_code == 200
    assert (_loads(third, "bad"), _loads(third, "hit")) == (1, 0)
    until(lambda: any(file.stat().st_size > SIZE / 2 for file in _data(store.home)), "it is compiled anew")


def test_a_service_that_ends_while_it_compiles_leaves_no_process(make_service: Start, store: Store) -> None:
    folder = store.source("v1", 1)
    write_weighty(folder, SIZE, 1)
    store.take(folder)
    service = make_service(store.home, WORKERS="1", **COMPILED).ready()
    compiling = until(lambda: _compiles(service), "a compile runs")
    assert service.stop() == 0
    assert psutil.wait_procs(compiling, timeout=60)[1] == []


def _compiles(service: Service) -> list[psutil.Process]:
    children = psutil.Process(service.worker()).children(recursive=True)
    return [child for child in children if "models_import.compile_process" in child.cmdline()]
