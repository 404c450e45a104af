"""Golden pictures that are held for a model, beside those that its versions bring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.files import locked, write_atomically
from hotswap.errors import StateUnavailable
from manifest.version_manifest import ExpectedObject, GoldenPicture

_DOCUMENT = "golden.json"


class _Held(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: int = 1
    pictures: tuple[GoldenPicture, ...] = ()


class GoldenFiles:
    """`<home>/state/golden/<model>`: a document and the pictures that it names, by their sha256."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "golden"

    def held(self, model: str) -> Sequence[tuple[GoldenPicture, Path]]:
        """The golden pictures of a model and where they lie. Raises `StateUnavailable`."""
        folder = self._folder / model
        return [(picture, folder / picture.file) for picture in self._read(folder).pictures]

    def add(self, model: str, name: str, data: bytes, expected: Sequence[ExpectedObject] | None) -> str:
        """Hold a picture, in place of an equal one; returns the name of its file.

        None is `expected` where nobody has said what is to be found.
        """
        folder = self._folder / model
        file = f"{hashlib.sha256(data).hexdigest()[:16]}{Path(name).suffix.lower()}"
        with locked(folder / ".lock"):
            others = [each for each in self._read(folder).pictures if each.file != file]
            write_atomically(folder / file, data)
            found = None if expected is None else list(expected)
            self._write(folder, [*others, GoldenPicture(file=file, expected=found)])
        return file

    def remove(self, model: str, file: str) -> bool:
        """Hold a picture no longer; False where none of that name was held."""
        folder = self._folder / model
        with locked(folder / ".lock"):
            held = self._read(folder).pictures
            kept = [each for each in held if each.file != file]
            if len(kept) == len(held):
                return False
            self._write(folder, kept)
            (folder / file).unlink(missing_ok=True)
        return True

    def _write(self, folder: Path, pictures: Sequence[GoldenPicture]) -> None:
        document = _Held(pictures=tuple(pictures)).model_dump_json(indent=1)
        write_atomically(folder / _DOCUMENT, document.encode())

    def _read(self, folder: Path) -> _Held:
        path = folder / _DOCUMENT
        try:
            return _Held.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return _Held()
        except ValidationError:
            raise StateUnavailable(f"{path} is damaged: move it away, and record the pictures anew") from None
