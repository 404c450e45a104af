"""What the processes of a race for production do; spawned by `test_registry_races.py`."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import Queue
from multiprocessing.synchronize import Barrier, Event

from adapters.registries import open_registry
from hotswap.errors import Conflict
from registry.entries import By
from registry.model_registry import ModelRegistry

VERSIONS = ("v1", "v2", "v3")


def prepare(registry: ModelRegistry) -> None:
    """A model with one production version."""
    for version in VERSIONS:
        registry.register("m", version, f"models/m/{version}")
    registry.activate("m", VERSIONS[0])


@dataclass(frozen=True)
class Racer:
    """Activates one of the versions that are not production, again and again, as another racer does."""

    where: str
    choice: int
    rounds: int

    def run(self, start: Barrier, results: Queue[tuple[int, list[str]]]) -> None:
        registry, outcomes = open_registry(self.where), list[str]()
        for _ in range(self.rounds):
            production = registry.production("m")
            current = production.version if production else "none"
            version = [one for one in VERSIONS if one != current][self.choice]
            start.wait(60)
            outcomes.append(self._activate(registry, version, current))
            start.wait(60)
        results.put((self.choice, outcomes))
        registry.close()

    def _activate(self, registry: ModelRegistry, version: str, current: str) -> str:
        try:
            registry.activate("m", version, By(expected_current=current))
        except Conflict as error:
            return error.code
        return "won"


def read_until(where: str, stop: Event, results: Queue[tuple[int, list[str]]]) -> None:
    """Note each reading that has not exactly one production version."""
    registry, wrong, count = open_registry(where), list[str](), 0
    while not stop.is_set():
        statuses = [entry.status for entry in registry.list("m")]
        found = [entry.version for entry in registry.list(status="production")]
        if statuses.count("production") != 1 or len(found) != 1:
            wrong.append(f"{statuses} {found}")
        if registry.pointers().models["m"].production not in VERSIONS:
            wrong.append(str(registry.pointers()))
        count += 1
    results.put((-1, [f"{count} readings", *wrong[:20]]))
    registry.close()
