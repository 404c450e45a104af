"""The importer: copies a version into the staging folder, checks it, and publishes it in one step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from common.files import sync
from hotswap.crop_detector import absence, misfit
from hotswap.repository import Artifact
from manifest.tags import BadTag, ModelTag, check_word
from manifest.version_manifest import (
    CONFIG_FILE,
    BadManifest,
    FileEntry,
    Manifest,
    ModelConfig,
    digest_of,
    parse_config,
)
from models_import import archives, candidates, model_yaml
from models_import.candidates import Candidate, Opened
from models_import.errors import ImportRefused, ImportUnavailable
from models_import.file_kinds import is_onnx
from models_import.layout import MODEL_YAML, POINTER, pick_weights
from models_import.pointer import latest_of, newest_on_disk, point
from models_import.probe import LIMIT, Probe, Task, probe
from models_import.progress import SILENT, ImportProgress
from models_import.small_files import LARGEST, read_small
from models_import.validation import check_config_file, check_declared, compare_with_stored
from models_import.workspace import FOLDER_MODE, Workspace, open_modes, sync_tree
from runners.label_file import with_labels

_BLOCK = 1 << 20


def copy_hashed(source: Path, target: Path) -> Iterator[tuple[int, FileEntry | None]]:
    """Copy a file and hash the copied bytes; yield the bytes of each block, and its entry at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("xb") as write:
        while block := read.read(_BLOCK):
            digest.update(block)
            write.write(block)
            size += len(block)
            yield len(block), None
    yield 0, FileEntry(sha256=digest.hexdigest(), size=size)


#: Space for more than the files: names, `model.yaml`, `latest`.
_SPARE_BYTES = 10_000_000

Hook = Callable[[str], None]
#: Compiles a version that has come in as far as its files; never raises.
Compile = Callable[[Artifact], object]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import. `latest` is the version that BentoML's pointer names now.

    `unreviewed` are the fields of the config that were inferred, and that nobody has checked;
    `crop_trouble` is why it cannot crop with what the store has.
    """

    tag: ModelTag
    digest: str
    outcome: Literal["imported", "unchanged"]
    latest: str | None
    unreviewed: tuple[str, ...] = ()
    crop_trouble: str | None = None


class Importer:
    """Imports versions into the store of one home; several processes may do so at once."""

    def __init__(
        self,
        home: Path,
        *,
        report: ImportProgress = SILENT,
        probe: Probe = probe,
        compile_version: Compile = lambda _artifact: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        free_bytes: Callable[[], int] | None = None,
        at: Hook = lambda _step: None,
        imported: Callable[[Imported], None] = lambda _imported: None,
        traced: Callable[[Candidate], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`at` is called with the name of each step before it begins, and with `done` at the end.

        `compile_version` is called with each version before it is published, `imported` with each that has
        come in. `traced` is around each import.
        """
        self.home = home
        self.report = report
        self.probe = probe
        self.compile_version = compile_version
        self.now = now
        self.at = at
        self.imported = imported
        self.traced = traced
        self.staging = Workspace(home)
        self.free_bytes = free_bytes or self.staging.free_bytes

    def run(self, candidate: Candidate) -> Imported:
        """Import one version, or raise `ImportRefused` with the store unchanged."""
        with self.traced(candidate), ExitStack() as owned:
            try:
                version = _Import(self, candidate, owned).run()
            except ImportRefused as refused:
                raise type(refused)(self.staging.without_staging(str(refused))) from refused.__cause__
            except OSError as error:
                where = self.staging.without_staging(str(error.filename or self.home))
                raise ImportUnavailable(f"{candidate.path}: {where}: {error.strerror or error}") from error
        if version.outcome == "imported":
            self.imported(version)
        return version


class _Import:
    """One import."""

    def __init__(self, importer: Importer, candidate: Candidate, owned: ExitStack) -> None:
        self.importer = importer
        self.candidate = candidate
        self.owned = owned
        self.unchanged = False

    scratch: Path
    opened: Opened
    config: ModelConfig
    entries: dict[str, FileEntry]
    manifest: Manifest
    latest: str | None

    @property
    def tag(self) -> ModelTag:
        return self.opened.tag

    @property
    def staged(self) -> Path:
        """The staged version, as it will be in the store."""
        return self.scratch / "version"

    @property
    def model_dir(self) -> Path:
        """The model's folder in the store."""
        return self.importer.home / "models" / self.tag.name

    def run(self) -> Imported:
        for name, step, needed_if_unchanged in STEPS:
            if self.unchanged and not needed_if_unchanged:
                continue
            self.importer.at(name)
            self.importer.report.step(name)
            step(self)
        self.importer.at("done")
        outcome: Literal["imported", "unchanged"] = "unchanged" if self.unchanged else "imported"
        return Imported(
            self.tag,
            self.manifest.digest,
            outcome,
            self.latest,
            tuple(self.config.inferred),
            crop_trouble(self.importer.home / "models", self.tag, self.config),
        )

    def lock(self) -> None:
        self.owned.enter_context(self.importer.staging.locked(self.importer.report))

    def sweep(self) -> None:
        self.importer.staging.sweep()
        self.scratch = self.owned.enter_context(self.importer.staging.scratch_folder())

    def open(self) -> None:
        path, wanted = self.candidate.path, self.candidate.wanted
        if not path.is_file():
            self.opened = candidates.open_folder(path, wanted, path, follow=self.candidate.follow)
        elif is_onnx(path.name):
            self.opened = candidates.open_onnx(path, wanted)
        else:
            packing = candidates.packing_of(path)
            # A lower bound: unpacking yields more bytes, and BentoML writes them twice.
            self._need(2 * path.stat().st_size)
            bound = archives.bound_of(path, (self.importer.free_bytes() - _SPARE_BYTES) // 2)
            self.opened = candidates.open_folder(
                archives.unpack(path, self.scratch, bound, packing), wanted, path
            )

    def check(self) -> None:
        self.config = check_config_file(self.opened, self.candidate.path)

    def space(self) -> None:
        self._need(self._total())

    def copy(self) -> None:
        done, total = 0, self._total()
        self.entries = {}
        for name, source in self.opened.files.items():
            for count, entry in copy_hashed(source, self.staged / name):
                done += count
                self.importer.report.progress(done, total)
                if entry is not None:
                    self.entries[name] = entry
        check_declared(self.opened, self.entries, self.candidate.path)

    def compare(self) -> None:
        weights = pick_weights(self.entries, self.config)
        self.manifest = Manifest(digest=digest_of(self.entries), weights=weights, files=self.entries)
        self.unchanged = compare_with_stored(
            self.model_dir / self.tag.version, self.tag, self.manifest.digest
        )

    def try_out(self) -> None:
        task = Task(
            folder=self.staged,
            name=self.tag.name,
            version=self.tag.version,
            weights=self.manifest.weights,
            digest=self.manifest.digest,
            size_bytes=self.manifest.size_bytes,
            limit=LIMIT,
        )
        try:
            measured = self.importer.probe(task)
        except ImportRefused as refused:
            raise ImportRefused(f"{self.candidate.path}: {refused}") from None
        self.manifest = self.manifest.model_copy(update={"measured": measured})

    def compile(self) -> None:
        # Before it is published: who serves it then loads what was compiled.
        self.importer.compile_version(
            Artifact(
                tag=self.tag,
                path=self.staged,
                weights=self.staged / self.manifest.weights,
                digest=self.manifest.digest,
                config=self.config,
                created=self.importer.now(),
                size_bytes=self.manifest.size_bytes,
            )
        )

    def describe(self) -> None:
        created = self.opened.created or self.config.created or self.importer.now()
        text = model_yaml.render(self.tag.name, self.tag.version, created, self.manifest, self.opened.base)
        if len(text) > LARGEST:
            raise ImportRefused(
                f"{self.candidate.path}: its {len(self.entries)} files need a {MODEL_YAML} of more than the "
                f"allowed {LARGEST} bytes: import only the files that the model needs"
            )
        (self.staged / MODEL_YAML).write_bytes(text)

    def modes(self) -> None:
        open_modes(self.staged)

    def sync(self) -> None:
        sync_tree(self.staged)

    def make_model_dir(self) -> None:
        self.model_dir.mkdir(exist_ok=True)
        self.model_dir.chmod(FOLDER_MODE)
        sync(self.model_dir.parent)

    def publish(self) -> None:
        self.staged.rename(self.model_dir / self.tag.version)
        sync(self.model_dir)

    def move_pointer(self) -> None:
        fresh = None if self.unchanged else self.tag.version
        self.latest = newest_on_disk(self.model_dir, fresh)
        if self.latest is not None:
            point(self.model_dir, self.latest, self.scratch / POINTER)

    def clean(self) -> None:
        self.owned.close()

    def _total(self) -> int:
        return sum(path.stat().st_size for path in self.opened.files.values())

    def _need(self, size: int) -> None:
        free = self.importer.free_bytes()
        if free < size + _SPARE_BYTES:
            raise ImportUnavailable(
                f"{self.candidate.path}: needs {_mega(size + _SPARE_BYTES)} MB in {self.importer.home}, "
                f"but {_mega(free)} MB are free: remove unused versions with `okawari remove`"
            )


def _mega(size: int) -> int:
    return -(-size // 1_000_000)


#: The name of each step, its function, and whether it also runs when the store already has the version.
STEPS: tuple[tuple[str, Callable[[_Import], None], bool], ...] = (
    ("lock", _Import.lock, True),
    ("sweep", _Import.sweep, True),
    ("open", _Import.open, True),
    ("check", _Import.check, True),
    ("space", _Import.space, True),
    ("copy", _Import.copy, True),
    ("compare", _Import.compare, True),
    ("try", _Import.try_out, False),
    ("compile", _Import.compile, False),
    ("describe", _Import.describe, False),
    ("modes", _Import.modes, False),
    ("sync", _Import.sync, False),
    ("shelf", _Import.make_model_dir, False),
    ("publish", _Import.publish, False),
    # Also repairs the pointer after an import that was killed before this step.
    ("latest", _Import.move_pointer, True),
    ("clean", _Import.clean, True),
)


def crop_trouble(models: Path, tag: ModelTag, config: ModelConfig) -> str | None:
    """Why an imported version cannot crop with what the store has; None if it can, or does not crop."""
    crop = config.crop_with
    if crop is None:
        return None
    if crop.model == tag.name:
        return misfit(crop, tag.name, tag, config)
    found = _latest_version(models, crop.model)
    return absence(crop, known=False) if found is None else misfit(crop, tag.name, *found)


def _latest_version(models: Path, name: str) -> tuple[ModelTag, ModelConfig] | None:
    """The version of a model that `latest` names, with its config; None without one that can be read."""
    with suppress(BadTag, BadManifest, OSError):
        folder = models / check_word("name", name)
        version = latest_of(folder)
        if version is not None:
            place = folder / check_word("version", version)
            return ModelTag(name, version), with_labels(parse_config(read_small(place / CONFIG_FILE)), place)
    return None
