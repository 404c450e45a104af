"""Exports a version as an archive for `bentoml models import`.

`python -m models_import.exporter TAG TARGET` exports from the process's BENTOML_HOME.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import import subprocesses
from models_import.errors import ImportRefused
from models_import.store import ModelStore

_ENDINGS = (".bentomodel", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip")


def export(store: ModelStore, tag: ModelTag, target: Path | None) -> Path:
    """Write an archive whose kind is given by the ending of `target`; return its path.

    Without a target, or in a folder, the name is `<name>-<version>.bentomodel`. An existing file is never
    replaced and a damaged version is not exported. Raises `ImportRefused`.
    """
    target = _named(tag, target)
    _check(store, tag)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".okawari-") as scratch:
        archive = Path(scratch) / target.name
        _export(store.path, tag, archive, Path(scratch))
        _reserve(target)
        archive.replace(target)
    return target


def _reserve(target: Path) -> None:
    """Create the file, unless it exists by now."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        raise _exists(target) from None


def _named(tag: ModelTag, target: Path | None) -> Path:
    target = (target or Path.cwd()).absolute()
    if target.is_dir():
        target /= f"{tag.name}-{tag.version}.bentomodel"
    if target.exists():
        raise _exists(target)
    if not target.name.endswith(_ENDINGS):
        raise ImportRefused(f"{target.name}: an archive's name must end with one of {', '.join(_ENDINGS)}")
    if not target.parent.is_dir():
        raise ImportRefused(f"{target.parent} is not a folder")
    return target


def _exists(target: Path) -> ImportRefused:
    return ImportRefused(f"{target} exists; choose another name or remove it")


def _check(store: ModelStore, tag: ModelTag) -> None:
    model = (store.look() or {}).get(tag.name)
    version = model.versions.get(tag.version) if model else None
    if version is None:
        raise ImportRefused(f"{tag} is not in {store.path}; `okawari models` lists the versions")
    if version.created is None:
        raise ImportRefused(f"{tag}: {version.reason}")
    if version.digest is None:
        return
    settled = store.settle(tag)
    if not isinstance(settled, Artifact):
        raise ImportRefused(f"{tag}: {settled.reason}")


def _export(models: Path, tag: ModelTag, target: Path, scratch: Path) -> None:
    # BentoML creates folders in its home, but the store may be read-only: it gets a home with a link.
    home = scratch / "home"
    home.mkdir()
    (home / "models").symlink_to(models, target_is_directory=True)
    done = subprocesses.run_module(
        __name__, str(tag), str(target), BENTOML_HOME=str(home), TMPDIR=str(scratch)
    )
    if done.returncode != 0:
        raise ImportRefused(f"BentoML cannot export {tag}: {subprocesses.last_words(done.stderr)}")


def main() -> None:
    """Export from this process's home."""
    import bentoml

    bentoml.models.export_model(sys.argv[1], sys.argv[2])


if __name__ == "__main__":
    main()
