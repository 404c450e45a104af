"""The model that the configuration file names by its files: `model.checkpoint_path`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cli.errors import Refused
from config_file import ModelSection
from hotswap.manifest import CONFIG_FILE
from models_import.candidates import Wanted
from models_import.file_kinds import is_onnx

_BLOCK = 1 << 20


def configured(model: ModelSection) -> tuple[Path, Wanted] | None:
    """The path to import and under which name; None where the file names none. Raises `Refused`.

    A folder has its version in its name. A single .onnx gets one of its content, so that other files are
    another version, and the same ones are imported once.
    """
    if model.checkpoint_path is None:
        return None
    path = Path(model.checkpoint_path)
    config = Path(model.config_path) if model.config_path else None
    for name, file in (("checkpoint_path", path), ("config_path", config)):
        if file is not None and not file.exists():
            raise Refused(f"model.{name}: there is nothing at {file}")
    if not is_onnx(path.name):
        return path, Wanted(model.name, None, config)
    config = config or path.with_name(CONFIG_FILE)
    if model.name is None or not config.is_file():
        raise Refused(
            f"model.checkpoint_path: {path} is a single file: add model.name, and model.config_path or a "
            f"{CONFIG_FILE} beside it (`okawari config infer` makes a first one)"
        )
    return path, Wanted(model.name, f"sha{_digest(path, config)[:12]}", config)


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    return found.hexdigest()
