"""The core of one worker on real models: store, loader, gate and memory budget, turned by the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotswap.desired import set_target
from hotswap.predictions import Detection, Options, Picture
from hotswap.reconciler import Reconciler
from hotswap.resident_models import MemoryRules
from hotswap.status import StateView
from hotswap.version_status import VersionStatus
from manifest.version_manifest import ExpectedObject
from model_memory import version_gate
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from models_import.probe import Probe
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from registry.golden_files import GoldenFiles
from registry.verdict_files import ServedVersions, VerdictFiles
from runners.loader import OnnxLoader
from tests.e2e.stores import untried
from tests.hotswap.fakes import StepBackground
from workers.service_memory import Footprints


class RealCore:
    """`step`s until nothing more happens by itself; the versions are under `home/models`."""

    def __init__(self, home: Path, *, budget: int = 1 << 34) -> None:
        self.home = home
        self.golden = GoldenFiles(home)
        self.verdicts = VerdictFiles(home)
        self._desired = DesiredFile(home)
        self._background = StepBackground()
        self._reconciler = Reconciler(
            ModelStore(home / "models"),
            self._desired,
            OnnxLoader(max_pixels=50_000_000, thread_cap=1),
            self._background,
            observer=ServedVersions(self.verdicts),
            gate=version_gate(home, self.verdicts, self._desired),
            memory=MemoryRules(budget, Footprints()),
        )

    @property
    def view(self) -> StateView:
        """What it knows."""
        return self._reconciler.view

    def take(self, folder: Path, probe: Probe = untried) -> None:
        """Import a version; it is not tried out, so that bad ones come in, too."""
        Importer(self.home, probe=probe).run(Candidate(folder, Wanted(), named=True))

    def follow(self, name: str, target: str = "latest") -> None:
        """Aim at a version."""
        self._desired.edit(set_target(name, target, "test", None))

    def settle(self) -> None:
        """Turn until nothing more happens by itself."""
        self._reconciler.wake()
        for _ in range(50):
            self._reconciler.step()
            self._background.run_all()
            if self.view.idle:
                return
        raise AssertionError("it never comes to rest")

    def status(self, name: str, version: str) -> VersionStatus:
        """One version as the wires show it."""
        return next(each for each in self.view.model(name).versions if each.version == version)

    def find(self, name: str, picture: bytes) -> tuple[str, Sequence[Detection]]:
        """What answers a picture, and what it finds there."""
        slot = self.view.slot(name)
        assert slot is not None
        with slot.lease() as generation:
            answer = generation.runner.predict([Picture(encoded=picture)], Options()).items[0]
        return answer.model_version, answer.detections

    def record(self, name: str, pictures: Sequence[bytes], *, labelled: bool = True) -> None:
        """Hold pictures, with what the version that answers finds there, or without."""
        for number, picture in enumerate(pictures):
            found = self.find(name, picture)[1] if labelled else None
            expected = None if found is None else [_expected(each) for each in found]
            self.golden.add(name, f"{number}.png", picture, expected)


def _expected(found: Detection) -> ExpectedObject:
    return ExpectedObject(label=found.label, bbox=found.bbox, score=min(1.0, found.score))
