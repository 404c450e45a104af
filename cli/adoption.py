"""Takes in a registry file that was written before there was a store: files, entries, production."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from hotswap.errors import ServingError
from manifest.tags import ModelTag, natural_key
from manifest.version_manifest import CONFIG_FILE
from models_import.candidates import Candidate, Wanted
from models_import.errors import ImportRefused
from models_import.importer import Importer
from models_import.store import ModelStore
from registry.entries import By, RegistryEntry, Status
from registry.errors import AlreadyRegistered
from registry.model_registry import ModelRegistry
from registry.registered_models import stored_path


class NotAdopted(RuntimeError):
    """An entry that was not taken in; the message names it, with the reason and a remedy."""


class Adoption:
    """One run; a second one does what the first left undone, and moves no production that was set since."""

    def __init__(
        self,
        file: Path,
        registry: ModelRegistry,
        importer: Importer,
        by: By,
        activate: Callable[[ModelTag], None],
    ) -> None:
        """`activate` makes a version production."""
        folder = file.resolve().parent
        self._base = folder.parent if folder.name == "models" else folder
        self._registry = registry
        self._importer = importer
        self._store = ModelStore(importer.home / "models")
        self._by = by
        self._activate = activate

    def run(self, entries: tuple[RegistryEntry, ...]) -> Iterator[tuple[ModelTag, str]]:
        """Take each entry in; yields what was done with it, or raises nothing and yields the refusal.

        A refused entry stops no other.
        """
        for entry in sorted(entries, key=lambda one: (one.model_name, natural_key(one.version))):
            tag = ModelTag(entry.model_name, entry.version)
            try:
                yield tag, self._take_in(entry, tag)
            except (NotAdopted, ImportRefused, ServingError) as refused:
                yield tag, f"not adopted: {refused}"

    def _take_in(self, entry: RegistryEntry, tag: ModelTag) -> str:
        imported = self._import(entry, tag)
        self._register(entry, tag)
        if entry.status is Status.PRODUCTION and self._is_due(tag):
            self._activate(tag)
            return f"{imported}, production"
        return imported

    def _is_due(self, tag: ModelTag) -> bool:
        """Whether to activate it: nothing else is production. Where it is, it may not be followed yet."""
        now = self._registry.production(tag.name)
        return now is None or now.version == tag.version

    def _import(self, entry: RegistryEntry, tag: ModelTag) -> str:
        model = (self._store.look() or {}).get(tag.name)
        found = model.versions.get(tag.version) if model else None
        if found is not None and found.reason is None:
            return "in the store"
        folder = self._folder(entry)
        if not (folder / CONFIG_FILE).is_file():
            raise NotAdopted(
                f"there is no {CONFIG_FILE} in {folder}; `okawari config infer {self._base / entry.path}` "
                "writes a first one"
            )
        self._importer.run(Candidate(folder, Wanted(tag.name, tag.version), named=True))
        return "imported"

    def _folder(self, entry: RegistryEntry) -> Path:
        lies = (self._base / entry.path).resolve()
        if not lies.is_relative_to(self._base):
            raise NotAdopted(f"{entry.path} leads out of {self._base}")
        if not lies.exists():
            raise NotAdopted(f"there is nothing at {self._base / entry.path}")
        return lies if lies.is_dir() else lies.parent

    def _register(self, entry: RegistryEntry, tag: ModelTag) -> None:
        digest = (self._store.look() or {})[tag.name].versions[tag.version].digest
        with suppress(AlreadyRegistered):
            self._registry.take_in(
                entry.with_(path=stored_path(tag.name, tag.version), digest=digest), self._by
            )
