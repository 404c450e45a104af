"""Whether the store has the detector that an imported model crops with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hotswap.crop_detector import absence, misfit
from hotswap.manifest import CONFIG_FILE, BadManifest, ModelConfig, parse_config
from hotswap.tags import BadTag, ModelTag, check_word
from models_import.pointer import latest_of
from models_import.small_files import read_small
from runners.label_file import with_labels


def crop_trouble(models: Path, tag: ModelTag, config: ModelConfig) -> str | None:
    """Why an imported version cannot crop with what the store has; None if it can, or does not crop."""
    crop = config.crop_with
    if crop is None:
        return None
    if crop.model == tag.name:
        return misfit(crop, tag.name, tag, config)
    found = _latest(models, crop.model)
    return absence(crop, known=False) if found is None else misfit(crop, tag.name, *found)


def _latest(models: Path, name: str) -> tuple[ModelTag, ModelConfig] | None:
    """The version of a model that `latest` names, with its config; None without one that can be read."""
    with suppress(BadTag, BadManifest, OSError):
        folder = models / check_word("name", name)
        version = latest_of(folder)
        if version is not None:
            place = folder / check_word("version", version)
            return ModelTag(name, version), with_labels(parse_config(read_small(place / CONFIG_FILE)), place)
    return None
