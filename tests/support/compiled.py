"""Versions that are compiled in tests, and what became of their entries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE, parse_config
from models_import.compiler import Compiler
from runners.compiled_graphs import CompiledGraphs
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from runners.tensor_runner import TensorRunner
from tests.builders import write_version


def compilable(folder: Path, code: int = 1, *, ballast: int = 1 << 20, version: str = "v1") -> Artifact:
    """A settled version `code:<version>` whose weights are worth compiling."""
    return settled(write_version(folder, "code", version, code, bytes_of_ballast=ballast))


def settled(folder: Path, weights: str = "weights.onnx") -> Artifact:
    """The version in `<name>/<version>`, with `weights` as its first graph."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return Artifact(
        tag=ModelTag(folder.parent.name, folder.name),
        path=folder,
        weights=folder / weights,
        digest=f"sha256:{digest}",
        config=parse_config((folder / CONFIG_FILE).read_bytes()),
        created=datetime(2026, 1, 1, tzinfo=UTC),
        size_bytes=sum(path.stat().st_size for path in files),
    )


@dataclass
class Cache:
    """A cache of compiled graphs that keeps what it tells."""

    folder: Path
    limit: int = 10**9
    smallest: int = 0
    outcomes: list[str] = field(default_factory=list)
    wanted: list[ModelTag] = field(default_factory=list)

    @property
    def graphs(self) -> CompiledGraphs:
        """A new one each time, as each process has."""
        return CompiledGraphs(
            self.folder,
            self.limit,
            smallest=self.smallest,
            opened=lambda _model, outcome: self.outcomes.append(outcome),
            wanted=lambda artifact: self.wanted.append(artifact.tag),
        )

    def compile(self, artifact: Artifact) -> str:
        """The kind of what came of it."""
        return Compiler(self.graphs, limit=120).compile(artifact).kind

    def load(self, artifact: Artifact, threads: int = 1) -> OnnxRunner | TensorRunner:
        """Load, warm and check the version as a worker does."""
        loader = OnnxLoader(max_pixels=100_000_000, thread_cap=threads, compiled=self.graphs)
        runner = loader.load(artifact)
        assert isinstance(runner, OnnxRunner | TensorRunner)
        runner.warm()
        runner.check()
        return runner

    def entries(self) -> list[Path]:
        """The folders of all entries."""
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))

    def leftovers(self) -> list[Path]:
        """What is neither an entry nor the lock."""
        return [path for path in self.folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]

    def file(self, suffix: str) -> Path:
        """The file of the only entry with this suffix."""
        (entry,) = self.entries()
        (found,) = entry.glob(f"*{suffix}")
        return found


def all_outputs(runner: OnnxRunner | TensorRunner, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of everything that the graph gives."""
    arrays = runner.infer(inputs, ()).arrays
    return b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))
