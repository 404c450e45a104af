"""Kills a change of the registry before each of its steps, and looks what is left.

`run` is called in a process of its own, which has imported everything and has one thread: each kill is that
of a fork of it, in a fresh copy of a home. The service and the command line are in `kill_changes.py`.
"""

from __future__ import annotations

import gc
import json
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from importlib import import_module
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from adapters.registries import open_audit, open_registry
from adapters.sql import schema
from registry.audit import AuditStore, Record
from registry.entries import Action, By, Status, Switch
from registry.model_registry import ModelRegistry
from registry.registry_audit import RegistryAudit
from tests.registry.audit_logs import verified_beside
from tests.support.forks import problems_of, status_of, words_in
from tests.support.kill_steps import KillSteps

REGISTRY_FILE = "models/registry.json"
BY = By(actor="ann", reason="better boxes")
#: What would be imported in each fork, at the first use.
_LATER = (
    "cli.adoption",
    "cli.open_registry",
    "cli.progress",
    "cli.promotion_commands",
    "cli.registry_commands",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "numpy.random",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "watchfiles",
)


@dataclass(frozen=True)
class Registries:
    """Where the registry of the home in a folder lies; `server` is the URL of PostgreSQL."""

    kind: str
    server: str = ""

    def location(self, folder: Path) -> str:
        """The setting OKAWARI_REGISTRY."""
        if self.kind == "file":
            return str(folder / "home" / REGISTRY_FILE)
        if self.kind == "sqlite":
            return f"sqlite:///{folder}/registry.db"
        url = make_url(self.server).set(database=self._database(folder))
        return url.render_as_string(hide_password=False)

    def create(self, folder: Path) -> None:
        """Make one with its tables."""
        if self.kind == "postgresql":
            self._ask(f"CREATE DATABASE {self._database(folder)}")
        if self.kind != "file":
            schema.upgrade(self.location(folder))

    def copy(self, template: Path, folder: Path) -> None:
        """Copy what does not lie in the template's folder."""
        if self.kind == "postgresql":
            self._ask(f"CREATE DATABASE {self._database(folder)} TEMPLATE {self._database(template)}")

    def remove(self, folder: Path) -> None:
        """Remove what does not lie in the folder."""
        if self.kind == "postgresql":
            self._ask(f"DROP DATABASE {self._database(folder)} WITH (FORCE)")

    def _database(self, folder: Path) -> str:
        return f"kills_{blake2b(bytes(folder), digest_size=12).hexdigest()}"

    def _ask(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)


class Trial(ABC):
    """A change of production of the model m, from `before` to `after`, in a fresh home for each kill.

    All but `make` is done in forks; what returns texts returns what is wrong.
    """

    before: str | None
    after: str

    def __init__(self, registries: Registries) -> None:
        self.registries = registries

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Make the files of the home."""

    @abstractmethod
    def precede(self, folder: Path) -> list[str]:
        """Do what has happened before."""

    @abstractmethod
    def change(self, folder: Path, steps: KillSteps) -> list[str]:
        """Make the change, and count its steps."""

    @abstractmethod
    def look(self, folder: Path) -> list[str]:
        """Look what is left, and whether the change can be made again."""

    def location(self, folder: Path) -> str:
        """Where the registry of the home in a folder lies."""
        return self.registries.location(folder)

    def production(self, folder: Path) -> str | None:
        """The production version of m; several as one text."""
        registry = open_registry(self.location(folder))
        versions = [one.version for one in registry.list("m", status="production")]
        registry.close()
        return ", ".join(versions) or None

    def run(self, template: Path, first: int, stride: int) -> tuple[int, list[str]]:
        """Kill it before every `stride`-th step; the count of kills, and what was wrong after them."""
        template.mkdir()
        self.make(template)
        self.registries.create(template)
        kills, problems = 0, problems_of(partial(self.precede, template), template)
        for step in count(first, stride):
            if len(problems) > 20:
                break
            killed, found = self._at(template, step)
            if not killed and not found:
                break
            kills += 1
            problems += [f"killed before step {step}: {problem}" for problem in found]
        self.registries.remove(template)
        return kills, problems

    def _at(self, template: Path, step: int) -> tuple[bool, list[str]]:
        """Kill it before a step, if it comes so far."""
        folder = template.with_name(f"{template.name}-{step}")
        shutil.copytree(template, folder, symlinks=True)
        self.registries.copy(template, folder)
        try:
            status = status_of(lambda: self.change(folder, KillSteps(step)), folder)
            if status not in (0, -signal.SIGKILL):
                return False, [f"the change ended with {status}: {words_in(folder)}"]
            return status != 0, problems_of(lambda: self.look(folder), folder)
        finally:
            self.registries.remove(folder)
            shutil.rmtree(folder)


def run(folder: Path, trials: Sequence[Trial], stride: int) -> None:
    """Run trials; `results.json` gets, for each, its name, the count of kills and what went wrong."""
    for module in _LATER:
        import_module(module)
    gc.freeze()  # a collection in a fork need not copy what all have
    results = []
    for number, trial in enumerate(trials):
        # Not always the same steps, where some are left out.
        kills, problems = trial.run(folder / f"trial{number}", 1 + number % stride, stride)
        results.append((str(trial), kills, problems))
    (folder / "results.json").write_text(json.dumps(results))


def missing(registry: ModelRegistry, audit: AuditStore) -> list[str]:
    """What of the changes of production the audit log lacks, or has twice."""
    kinds = {Action.ACTIVATE: "promotion", Action.ROLLBACK: "rollback"}
    changes = registry.changes(0, 1_000)
    made = [(kinds[one.action], one.before, one.after) for one in changes if one.action in kinds]
    records = (one for one in audit.read() if isinstance(one, Record))
    told = [(one.action, one.before, one.after) for one in records if one.action in kinds.values()]
    return [] if told == made else [f"the audit log has {told}, and {made} was made"]


class RecordTrial(Trial):
    """The record alone: a change of it, its switch and its record in the audit log."""

    def __init__(self, registries: Registries, earlier: Sequence[str], after: str) -> None:
        super().__init__(registries)
        self._earlier = earlier
        self.before, self.after = earlier[-1], after

    def __str__(self) -> str:
        return f"record: {self.after} after {' '.join(self._earlier)}"

    def make(self, folder: Path) -> None:
        (folder / "home" / "state").mkdir(parents=True)

    def precede(self, folder: Path) -> list[str]:
        registry = open_registry(self.location(folder))
        for version in ("v1", "v2"):
            registry.register("m", version, f"models/m/{version}")
        for version in self._earlier:
            registry.activate("m", version)
        self._audit(registry, folder)
        registry.close()
        return []

    def change(self, folder: Path, steps: KillSteps) -> list[str]:
        steps.watch()
        steps.begin()
        self._make(folder)
        return []

    def _make(self, folder: Path) -> None:
        registry = open_registry(self.location(folder))
        if self.after in self._earlier:
            registry.rollback("m", BY)
        else:
            registry.activate("m", self.after, BY)
        registry.record_switch(
            Switch(model_name="m", number=len(self._earlier), version=self.after, time=datetime.now(UTC))
        )
        self._audit(registry, folder)
        registry.close()

    def _audit(self, registry: ModelRegistry, folder: Path) -> None:
        place = open_audit(self.location(folder), folder / "home")
        with closing(place.trail()) as trail:
            RegistryAudit(registry, trail, place.registry_mark).write()

    def look(self, folder: Path) -> list[str]:
        production = self.production(folder)
        place = open_audit(self.location(folder), folder / "home")
        problems = [] if production in (self.before, self.after) else [f"production is {production}"]
        registry = open_registry(self.location(folder))
        problems += _torn(registry, production)
        self._audit(registry, folder)
        problems += missing(registry, place.store)
        if production == self.before:
            self._make(folder)
        problems += missing(registry, place.store)
        if self.production(folder) != self.after or len(registry.served_at("m", datetime.now(UTC))) > 1:
            problems.append("made again, the change is not whole")
        registry.close()
        verified_beside(place)
        place.store.close()
        return problems


def _torn(registry: ModelRegistry, production: str | None) -> list[str]:
    """Where statuses, pointers and the history do not say the same."""
    entries = registry.list("m")
    statuses = {one.version: one.status for one in entries}
    last = next(
        one.after for one in registry.history("m") if one.action in (Action.ACTIVATE, Action.ROLLBACK)
    )
    pointer = registry.pointers().models["m"].production
    whole = {"v1": Status.STAGING, "v2": Status.STAGING, production: Status.PRODUCTION}
    same = statuses == whole and last == pointer == production
    return [] if same else [f"{statuses}, {pointer} is pointed at, {last} was the last"]


def record_trials(registries: Registries) -> Iterable[Trial]:
    """An activation and a rollback."""
    return [RecordTrial(registries, ["v1"], "v2"), RecordTrial(registries, ["v1", "v2"], "v1")]
