"""Kills the service or a command before each step of a change of production; the next start serves it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

import models_import.importer
from adapters.registries import open_audit, open_registry
from api.budget import ByteBudget
from bootstrap import Worker, begin
from cli.main import main
from hotswap.desired import DesiredModel
from models_import.importer import Importer
from registry.file_store import DesiredFile
from settings import Settings
from tests.e2e.harness import environment
from tests.e2e.stores import Store, untried
from tests.registry.audit_logs import verified_beside
from tests.registry.kill_trials import BY, REGISTRY_FILE, Registries, Trial, missing
from tests.support.forks import LIMIT
from tests.support.kill_steps import KillSteps
from workers.connections import OpenConnections
from workers.run_folder import RunFolder

_FOLLOWS = "@production"


class ServedTrial(Trial):
    """A change in a home with two versions, made by the service or, while none runs, by a command.

    `earlier` are the versions that were production before, in this order; None: no service has run before.
    """

    def __init__(self, registries: Registries, words: str, after: str, earlier: str | None = "") -> None:
        """`words` are those of the command; of the service, `activate` or `rollback`."""
        super().__init__(registries)
        self._words = words.split()
        self._is_known = earlier is not None
        self._earlier = (earlier or "").split()
        self.before = self._earlier[-1] if self._earlier else None
        self.after = after

    def __str__(self) -> str:
        return f"{' '.join(self._words)}: {self.after} after {' '.join(self._earlier) or 'none'}"

    @property
    def _by_service(self) -> bool:
        return len(self._words) == 1

    def make(self, folder: Path) -> None:
        store = Store(folder / "home", folder / "scratch")
        store.add("v1", 1)
        store.add("v2", 2)

    def precede(self, folder: Path) -> list[str]:
        async def promote(worker: Worker) -> None:
            for version in self._earlier:
                await worker.parts.promotions.activate("m", version, BY, LIMIT)
            await _until(lambda: not _missing(worker))

        self._enter(folder)
        if self._is_known:
            _serve(promote)
        return []

    def _enter(self, folder: Path) -> None:
        os.chdir(folder)
        settings = environment(folder / "home", folder / "home", OKAWARI_REGISTRY=self.location(folder))
        os.environ.clear()
        os.environ.update(settings)

    def change(self, folder: Path, steps: KillSteps) -> list[str]:
        self._enter(folder)
        steps.watch()

        async def change(worker: Worker) -> None:
            steps.begin()
            await self._make(worker)
            await _until(lambda: not _missing(worker))

        if self._by_service:
            _serve(change)
        else:
            steps.begin()
            self._command()
        return []

    async def _make(self, worker: Worker) -> None:
        """Make the change while a service runs."""
        if not self._by_service:
            await asyncio.to_thread(self._command)
        elif "rollback" in self._words:
            await worker.parts.promotions.rollback("m", BY, LIMIT)
        else:
            await worker.parts.promotions.activate("m", self.after, BY, LIMIT)

    def _command(self) -> None:
        vars(models_import.importer)["Importer"] = partial(Importer, probe=untried)
        main(self._words, prog_name="okawari", standalone_mode=False)

    def look(self, folder: Path) -> list[str]:
        """What is wrong after the next start, and after the change is made again."""
        self._enter(folder)
        problems: list[str] = []
        production = self.production(folder)
        if production not in (self.before, self.after):
            problems.append(f"production is {production}")
        changed = production == self.after != self.before

        async def look(worker: Worker) -> None:
            serving, target = worker.parts.view.serving("m"), _target(folder)
            if changed and target != _FOLLOWS:
                problems.append(f"{production} is production, and m follows {target}")
            if (changed or self._earlier) and serving != production:
                problems.append(f"{production} is production, and {serving} serves")
            if not await _until(lambda: not _missing(worker)):
                problems.extend(_missing(worker))
            if not (changed and "rollback" in self._words):
                await self._make(worker)
            if not await _until(lambda: worker.parts.view.serving("m") == self.after):
                problems.append(f"made again, {worker.parts.view.serving('m')} serves")

        _serve(look)
        if (self.production(folder), _target(folder)) != (self.after, _FOLLOWS):
            problems.append("made again, the change is not whole")
        place = open_audit(self.location(folder), folder / "home")
        verified_beside(place)
        place.store.close()
        return problems


class AdoptionTrial(ServedTrial):
    """The adoption of a registry file from before there was a store, maybe as the registry itself."""

    def __init__(self, registries: Registries, *, in_place: bool = False) -> None:
        self._in_place = in_place
        super().__init__(registries, f"registry adopt mounted/{REGISTRY_FILE}", "v1", None)
        self.before = self.after if in_place else None

    def location(self, folder: Path) -> str:
        return str(folder / "mounted" / REGISTRY_FILE) if self._in_place else super().location(folder)

    def make(self, folder: Path) -> None:
        _write_old_registry(folder / "mounted" / "models", Store(folder / "home", folder / "scratch"))

    def look(self, folder: Path) -> list[str]:
        problems = super().look(folder)
        registry = open_registry(self.location(folder))
        found = [
            (one.version, str(one.status), one.aliases, one.metadata.description, one.metadata.metrics)
            for one in registry.list("m")
        ]
        registry.close()
        wanted = [
            ("v1", "production", ("best",), "version 1", {"accuracy": 0.1}),
            ("v2", "archived", (), "version 2", {"accuracy": 0.2}),
        ]
        return problems if found == wanted else [*problems, f"made again, adopted is {found}"]


def served_trials(registries: Registries) -> Iterable[Trial]:
    """Each change by the service, and by commands."""
    return [
        ServedTrial(registries, "activate", "v1"),
        ServedTrial(registries, "activate", "v2", "v1"),
        ServedTrial(registries, "rollback", "v1", "v1 v2"),
        ServedTrial(registries, "promote m v1 --yes", "v1", None),
        ServedTrial(registries, "promote m v2 --yes", "v2", "v1"),
        ServedTrial(registries, "rollback m --yes", "v1", "v1 v2"),
        AdoptionTrial(registries),
        # In a database there is no file that could be adopted where it lies.
        *([AdoptionTrial(registries, in_place=True)] if registries.kind == "file" else []),
    ]


def _serve(use: Callable[[Worker], Awaitable[None]]) -> None:
    """Run a worker as the service does, use it, and end it."""
    settings = Settings()
    run = RunFolder(settings.home)
    run.claim()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(run.metrics)
    begin(settings)
    worker = Worker(settings, run, ByteBudget(settings.max_buffered_bytes), OpenConnections(60))

    async def serve() -> None:
        await worker.start()
        await use(worker)
        await worker.stop()

    asyncio.run(serve())


async def _until(true: Callable[[], bool]) -> bool:
    """Wait until this is true; False when that takes too long."""
    end = time.monotonic() + LIMIT / 4
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.005)
    return True


def _missing(worker: Worker) -> list[str]:
    return missing(worker.parts.registry, worker.parts.audit)


def _target(folder: Path) -> str:
    return DesiredFile(folder / "home").read().models.get("m", DesiredModel()).target


def _write_old_registry(models: Path, store: Store) -> None:
    """A registry file from before there was a store: a production version and an archived one."""
    entries = []
    for number, status, aliases in ((1, "production", ["best"]), (2, "archived", [])):
        source = store.source(f"v{number}", number)
        target = models / "m" / f"v{number}"
        target.mkdir(parents=True)
        shutil.copy(source / "weights.onnx", target / "model.onnx")
        shutil.copy(source / "config.json", target)
        entries.append(
            {
                "model_name": "m",
                "version": number,
                "path": f"models/m/v{number}/model.onnx",
                "status": status,
                "creation_timestamp": "2025-01-01T00:00:00Z",
                "metadata": {"description": f"version {number}", "metrics": {"accuracy": number / 10}},
                "aliases": aliases,
            }
        )
    (models / "registry.json").write_text(json.dumps({"models": entries}))
