"""What is known of one compiled version: `compiled.json` beside its optimised graphs."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import onnxruntime as ort
from pydantic import Field

from manifest.config_part import ConfigPart
from residency.planner import Footprint

#: The description of an entry; an entry without it does not exist.
ENTRY_FILE = "compiled.json"
_FORMAT: Literal[1] = 1
_SHA256 = r"^[0-9a-f]{64}$"


@lru_cache(maxsize=1)
def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A digest of the instructions that this CPU has: optimised graphs are laid out for them."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    known = sorted(flags.partition(":")[2].split()) or [platform.processor()]
    return hashlib.sha256(" ".join([platform.machine(), *known]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CompiledKey:
    """What a compiled version depends on: its files, the library and the CPU."""

    digest: str
    onnxruntime: str = ort.__version__
    cpu: str = field(default_factory=cpu_features)

    @property
    def name(self) -> str:
        """The name of its folder."""
        text = f"{_FORMAT}\n{self.digest}\n{self.onnxruntime}\n{self.cpu}"
        return hashlib.sha256(text.encode()).hexdigest()[:40]


class FileIdentity(ConfigPart):
    """Changes with every write, replacement, copy and change of mode of a file."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileIdentity:
        """That of a regular file, no link. Raises `OSError`."""
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path.name} is not a regular file")
        return cls(
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )


class CompiledFile(ConfigPart):
    """One file of an entry as it was made."""

    sha256: str = Field(pattern=_SHA256)
    identity: FileIdentity

    @classmethod
    def of(cls, path: Path) -> CompiledFile:
        """Read the file. Raises `OSError`."""
        return cls(sha256=_sha256(path), identity=FileIdentity.of(path))

    def trouble(self, path: Path) -> str | None:
        """What is wrong with the file; an identity that is known spares the reading. Raises `OSError`."""
        seen = FileIdentity.of(path)
        if seen == self.identity:
            return None
        if seen.size != self.identity.size:
            return f"{path.name} has {seen.size} bytes instead of {self.identity.size}"
        return None if _sha256(path) == self.sha256 else f"{path.name} does not match its sha256"


class CompiledGraph(ConfigPart):
    """One graph: its optimised file, and digests of its answers on the check pictures by those of its inputs.

    `threads` is how many computed them: with another number they may differ in the last bits.
    """

    file: str
    answers: dict[str, str] = Field(default_factory=dict)
    threads: int = 1


class CompiledCost(ConfigPart):
    """What loading the compiled version cost in a process of its own; sizes in bytes.

    `shared_bytes` are pages mapped from files, `own_bytes` and `peak_bytes` the process's own.
    """

    load_seconds: float
    own_bytes: int
    shared_bytes: int
    peak_bytes: int


class CompiledEntry(ConfigPart):
    """The content of `compiled.json`. `refusal` says why the version is kept as it is, without files."""

    format: Literal[1] = _FORMAT
    digest: str
    onnxruntime: str
    cpu: str
    graphs: dict[str, CompiledGraph] = Field(default_factory=dict)
    files: dict[str, CompiledFile] = Field(default_factory=dict)
    cost: CompiledCost | None = None
    refusal: str | None = None

    @property
    def key(self) -> CompiledKey:
        """What it was made for."""
        return CompiledKey(self.digest, self.onnxruntime, self.cpu)

    @property
    def size_bytes(self) -> int:
        """Bytes of its files."""
        return sum(each.identity.size for each in self.files.values())

    @property
    def footprint(self) -> Footprint | None:
        """What it takes in memory; None where nothing was compiled."""
        if self.cost is None:
            return None
        cost = self.cost
        return Footprint(cost.shared_bytes, cost.own_bytes, cost.peak_bytes, cost.load_seconds)

    def trouble(self, folder: Path) -> str | None:
        """What is wrong with its files in this folder; None where all are as they were made."""
        for name, file in self.files.items():
            try:
                trouble = file.trouble(folder / name)
            except OSError as error:
                trouble = f"{name}: {error.strerror or error}"
            if trouble is not None:
                return trouble
        return None

    def seen_in(self, folder: Path) -> CompiledEntry:
        """With the present identities of its files, whose content was read. Raises `OSError`."""
        files = {
            name: file.model_copy(update={"identity": FileIdentity.of(folder / name)})
            for name, file in self.files.items()
        }
        return self.model_copy(update={"files": files})


def described(folder: Path, names: Mapping[str, CompiledGraph]) -> dict[str, CompiledFile]:
    """All files beside the graphs of a folder, read now. Raises `OSError`."""
    kept = sorted(path for path in folder.iterdir() if path.name != ENTRY_FILE)
    missing = {graph.file for graph in names.values()} - {path.name for path in kept}
    if missing:
        raise FileNotFoundError(f"{min(missing)} was not written")
    return {path.name: CompiledFile.of(path) for path in kept}


def _sha256(path: Path) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
