"""How models come into the memory of a worker: list of models, compiled graphs, loader, gate, budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from common.sizes import MemoryAmount
from evaluation.contract import ContractCheck
from evaluation.evidence import AnswersCheck, LatencyCheck
from evaluation.golden import GoldenCheck, policy_of
from evaluation.guard import GuardRules, VersionGuard
from evaluation.metamorphic import AgreementCheck, MetamorphicCheck
from hotswap.desired import DesiredStore
from hotswap.events import notify
from hotswap.gate import Gate
from manifest.profiles import Profiles
from models_import.background_compiler import BackgroundCompiler
from models_import.compiler import Compiler
from models_import.importer import Importer
from registry.device_file import DeviceFile
from registry.golden_files import GoldenFiles
from registry.model_list_file import ModelListFile
from registry.providers import Providers
from registry.signatures import SignatureFiles, SignatureRequirement
from registry.verdict_files import VerdictFiles
from residency.planner import Policy
from runners.compiled_graphs import CompiledGraphs
from runners.devices import DeviceRules
from runners.families.index import FAMILIES
from runners.loader import OnnxLoader
from runners.teams import AdapterFolders
from settings import Settings
from telemetry import gpus
from telemetry.observers import Metrics
from workers.membership import WorkerTable
from workers.run_folder import RunFolder
from workers.service_memory import Footprints, ServiceMemory, usable_memory

_DEFAULT_BUDGET = MemoryAmount(share=0.6)


def open_model_list(settings: Settings) -> ModelListFile:
    """The list of models, unread."""
    tasks = {name: family.task for name, family in FAMILIES.items()}
    return ModelListFile(settings.model_registry, Providers(tasks))


def version_gate(
    home: Path, verdicts: VerdictFiles, desired: DesiredStore, keys: Sequence[Path] | None = None
) -> Gate:
    """What a version has to prove before it may answer; verdicts are shared by all workers of a home.

    With public `keys`, one of them has to have signed it.
    """
    held = GoldenFiles(home).held

    def last_digest(name: str) -> str | None:
        model = desired.read().models.get(name)
        return None if model is None else model.last_digest

    return Gate(
        [
            ContractCheck(),
            AnswersCheck(held),
            GoldenCheck(held),
            MetamorphicCheck(held),
            AgreementCheck(held),
            LatencyCheck(held),
        ],
        verdicts,
        requirements=[SignatureRequirement(keys, SignatureFiles(home))] if keys else (),
        policy=lambda artifact: policy_of(artifact, held),
        last_digest=last_digest,
    )


def version_guard(settings: Settings, is_busy: Callable[[], bool]) -> VersionGuard:
    """How a version is watched once it answers; `is_busy`: whether requests wait for a thread."""
    rules = GuardRules(settings.guard_seconds, share=settings.guard_share, workers=settings.workers)
    return VersionGuard(rules, is_busy)


class ModelMemory:
    """The parts of one worker on a seat."""

    def __init__(
        self,
        settings: Settings,
        run: RunFolder,
        seats: WorkerTable,
        seat: int,
        *,
        metrics: Metrics,
        model_list: ModelListFile | None = None,
    ) -> None:
        """`model_list` has what the master read, which holds where the file cannot be used any more."""
        self.model_list = model_list or open_model_list(settings)
        self.model_list.refresh()
        self.compiled = CompiledGraphs(
            settings.compiled, settings.compiled_limit, opened=partial(notify, metrics.opened_graph)
        )
        self._store_home = settings.store_home
        self._compiler = Compiler(self.compiled)
        self.compiling = BackgroundCompiler(self._compiler)
        self.compiled.wanted = self.compiling.add
        self.loader = _loader(settings, seat, metrics, self.model_list, self.compiled)
        self.service = ServiceMemory(
            run,
            seats,
            seat,
            workers=settings.workers,
            budget=(settings.memory_budget or _DEFAULT_BUDGET).of(usable_memory()),
            policy=Policy(pinned=frozenset(settings.pinned or ()), minimum_stay=settings.minimum_stay),
            footprint=Footprints(self.compiled.footprint, self.model_list),
            first=partial(_preloaded, self.model_list),
        )

    def importer(self) -> Importer:
        """Imports into the store of this service; what it imports is compiled."""
        return Importer(self._store_home, compile_version=self._compiler.compile)


def _loader(
    settings: Settings, seat: int, metrics: Metrics, profiles: Profiles, compiled: CompiledGraphs
) -> OnnxLoader:
    """The loader of the worker on a seat: each has a GPU of its own, as far as there are some."""
    devices = DeviceFile(settings.home)
    rules = DeviceRules(
        settings.device,
        gpu=seat % max(1, gpus.count()),
        chosen=lambda model: devices.read().get(model),
        profiles=profiles,
    )
    return OnnxLoader(
        max_pixels=settings.max_pixels,
        thread_cap=settings.model_threads,
        devices=rules,
        profiles=profiles,
        warm_up=settings.warm_up,
        fell_back=partial(notify, metrics.fell_back),
        compiled=compiled,
        adapters=AdapterFolders(settings.team_root),
    )


def _preloaded(profiles: Profiles) -> list[str]:
    return [name for name, profile in profiles().items() if profile.preload]
