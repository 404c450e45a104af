"""Several processes change one model at once: production is always one version."""

from __future__ import annotations

import multiprocessing
from multiprocessing import Queue

import pytest

from adapters.registries import open_registry
from tests.registry.race import Racer, prepare, read_until


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", [25, pytest.param(200, marks=pytest.mark.full)])
def test_of_two_activations_at_once_one_wins_and_one_is_refused(where: str, rounds: int) -> None:
    registry = open_registry(where)
    prepare(registry)
    spawn = multiprocessing.get_context("spawn")
    results: Queue[tuple[int, list[str]]] = spawn.Queue()
    start, stop = spawn.Barrier(2), spawn.Event()
    racers = [
        spawn.Process(target=Racer(where, choice, rounds).run, args=(start, results)) for choice in (0, 1)
    ]
    reader = spawn.Process(target=read_until, args=(where, stop, results))
    for process in (reader, *racers):
        process.start()
    outcomes = dict(results.get(timeout=200) for _ in racers)
    stop.set()
    reading = results.get(timeout=30)[1]
    for process in (reader, *racers):
        process.join(30)

    pairs = {tuple(sorted(pair)) for pair in zip(outcomes[0], outcomes[1], strict=True)}
    assert (pairs, len(outcomes[0])) == ({("conflict", "won")}, rounds)
    assert reading[1:] == []
    assert int(reading[0].split()[0]) > rounds / 5
    history = registry.history("m", limit=1000)
    assert len(history) == rounds + 4
    assert [one.before for one in history[:rounds]] == [one.after for one in history[1 : rounds + 1]]
    registry.close()
