"""Registers a version by the path of its files, which are imported first where they lie outside the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hotswap.errors import VersionNotFound
from hotswap.repository import ModelInfo
from manifest.tags import ModelTag
from registry.entries import By, RegistryEntry, checked_name, checked_version
from registry.errors import AlreadyRegistered, InvalidEntry
from registry.model_registry import ModelRegistry
from registry.registered_models import stored_path

#: Imports the files at a path as a version of the store; raises `ServingError`.
Import = Callable[[Path, ModelTag], None]


class Registrations:
    """Registrations by path, from the folder that holds `models/`."""

    def __init__(
        self,
        registry: ModelRegistry,
        look: Callable[[], Mapping[str, ModelInfo]],
        *,
        base: Path,
        roots: Sequence[Path],
        bring: Import,
    ) -> None:
        """`base` holds `models/`; paths must lead below one of `roots`."""
        self._registry = registry
        self._look = look
        self._base = base
        self._roots = [root.resolve() for root in roots]
        self._bring = bring

    def register(
        self, name: str, version: str | int, path: str, metadata: Mapping[str, Any], by: By
    ) -> RegistryEntry:
        """Register a version as `staging`; what lies outside the store is imported.

        Raises `InvalidEntry` for a path outside the allowed folders or files that cannot be served,
        `VersionNotFound` where nothing is, `AlreadyRegistered`, and what `ModelRegistry.register` raises.
        """
        tag = ModelTag(checked_name(name), checked_version(version))
        lies = self._allowed(path)
        if any(entry.version == tag.version for entry in self._registry.list(tag.name)):
            raise AlreadyRegistered(f"{tag} is already registered")
        is_outside = not self._is_stored(lies, tag)
        if is_outside:
            if not lies.exists():
                raise VersionNotFound(f"path: there is nothing at {path[:200]}")
            self._bring(lies, tag)
        digest = self._digest(tag, path)
        return self._registry.register(
            tag.name, tag.version, path, metadata, digest=digest, by=by, just_stored=is_outside
        ).entry

    def _allowed(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if not pure.is_absolute() and ".." not in pure.parts and "\0" not in path:
            lies = (self._base / pure).resolve()
            if any(lies.is_relative_to(root) for root in self._roots):
                return lies
        allowed = ", ".join(map(str, self._roots))
        raise InvalidEntry(
            f"path: {path[:200]!r} is not in an allowed folder; allowed is a relative path, from "
            f"{self._base}, into {allowed}: set OKAWARI_IMPORT_ROOTS to allow others"
        )

    def _is_stored(self, lies: Path, tag: ModelTag) -> bool:
        return lies.is_relative_to((self._base / stored_path(tag.name, tag.version)).resolve())

    def _digest(self, tag: ModelTag, path: str) -> str | None:
        models = self._look()
        found = models[tag.name].versions.get(tag.version) if tag.name in models else None
        if found is None:
            raise VersionNotFound(f"path: there is nothing at {path[:200]}")
        if found.reason is not None:
            raise InvalidEntry(f"path: {tag} cannot be served: {found.reason}")
        return found.digest
