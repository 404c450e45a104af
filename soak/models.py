"""Versions of the demo models whose answers name their own version: every label begins with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from models_import.demo_models import DEMO
from soak.ballast import with_ballast

#: The models that are exchanged all the time: one is quick, so that a run has many requests; what the other
#: one finds is stored with its pictures.
CLASSIFIER, DETECTOR = EXCHANGED = ("soak-classifier", "soak-detector")
#: Those that do not all fit in memory beside them.
GUESTS = ("guest-a", "guest-b", "guest-c")
#: Bytes of weights that each of those has.
GUEST_SIZE = 40_000_000
_SHAPES, _EXPOSURE = DEMO / "shapes" / "v1", DEMO / "exposure" / "v1"
_PICTURE = _SHAPES / "golden" / "shapes-1013.jpg"
_BIN = Path(sys.executable).parent
_IMPORT_SECONDS = 300.0
_SIDES = (512, 512)


def picture() -> bytes:
    """A picture in which each model finds something."""
    return _PICTURE.read_bytes()


def large_picture() -> bytes:
    """The same, large enough for the routes for devices."""
    written = BytesIO()
    with Image.open(_PICTURE) as small:
        small.resize(_SIDES).save(written, "JPEG", quality=90)
    return written.getvalue()


def label(model: str, version: str, found: str) -> str:
    """What one version calls what it has found."""
    return f"{model}:{version}/{found}"


def says_it_is(labels: list[str], model: str, version: str) -> bool:
    """Whether an answer with these labels can come from a version."""
    return bool(labels) and all(each.startswith(f"{model}:{version}/") for each in labels)


class Versions:
    """Writes versions and imports them into a store, as an engineer does it."""

    def __init__(self, room: Path, environment: Mapping[str, str]) -> None:
        self._room = room
        self._environment = {**os.environ, **environment}

    def add_all(self, models: Sequence[str], version: str) -> None:
        """Import a version of each of the models. Raises `CalledProcessError`."""
        for model in models:
            self._write(model, version)
        self._okawari("import", str(self._room / "versions"))
        shutil.rmtree(self._room / "versions")

    def add(self, model: str, version: str) -> None:
        """Import a version. Raises `CalledProcessError`."""
        folder = self._write(model, version)
        self._okawari("import", str(folder))
        shutil.rmtree(folder)

    def _write(self, model: str, version: str) -> Path:
        folder = self._room / "versions" / model / version
        shutil.copytree(_EXPOSURE if model == CLASSIFIER else _SHAPES, folder)
        config = json.loads((folder / "config.json").read_text())
        config["labels"] = [label(model, version, found) for found in config["labels"]]
        if model == CLASSIFIER:
            config["family"] = "classifier"  # the demo's own takes no other labels
        if model in GUESTS:
            weights = folder / "weights.onnx"
            weights.write_bytes(with_ballast(weights.read_bytes(), GUEST_SIZE, config["input"]["name"]))
        config["description"] = f"version {version} of a long run"
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def remove(self, model: str, version: str) -> bool:
        """Remove a version from the store; False where it is still needed."""
        try:
            self._okawari("remove", f"{model}:{version}")
        except subprocess.CalledProcessError:
            return False
        return True

    def _okawari(self, *words: str) -> None:
        subprocess.run(
            [_BIN / "okawari", *words],
            env=self._environment,
            check=True,
            timeout=_IMPORT_SECONDS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not meant for it
        )
