"""Installs the demo models once per home; a removed demo model stays removed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from common.files import sync
from models_import.candidates import Wanted, candidates
from models_import.errors import ImportRefused
from models_import.importer import Imported, Importer

DEMO = Path(__file__).parent / "demo"


class _Seeded(BaseModel):
    """The demo versions installed in this home so far."""

    format: int = 1
    versions: list[str] = []


def seed(
    home: Path, importer: Importer, *, demo: Path = DEMO, refused: Callable[[str], None] = lambda _why: None
) -> list[Imported]:
    """Import each demo version that was not yet installed in this home.

    A tag used by another version is reported to `refused` and not tried again; any other problem raises
    `ImportRefused`. Two processes may call it at once: the second waits and finds nothing to do.
    """
    state = home / "state"
    done: list[Imported] = []
    with _locked(state):
        seeded = _read(state)
        for candidate in candidates(demo, Wanted()) if demo.is_dir() else ():
            tag = f"{candidate.path.parent.name}:{candidate.path.name}"
            if tag in seeded.versions:
                continue
            try:
                done.append(importer.run(candidate))
            except ImportRefused as error:
                if not (importer.home / "models" / tag.replace(":", "/")).exists():
                    raise
                refused(str(error))
            seeded.versions.append(tag)
            _write(state, seeded)
    return done


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    handle = os.open(state / "seeded.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(state: Path) -> _Seeded:
    path = state / "seeded.json"
    try:
        return _Seeded.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Seeded()
    except ValidationError:
        raise ImportRefused(f"{path} is damaged; remove it to get the demo models again") from None


def _write(state: Path, seeded: _Seeded) -> None:
    scratch = state / ".seeded.json"
    scratch.write_text(seeded.model_dump_json())
    sync(scratch)
    scratch.replace(state / "seeded.json")
    sync(state)
