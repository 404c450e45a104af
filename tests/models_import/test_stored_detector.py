"""An import says at once that the detector which the model crops with is missing or does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.importer import Imported
from models_import.progress import warnings_of
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import ROOT, bring


def _classifier(home: Path, tmp: Path, version: str, **crop: Any) -> Imported:
    folder = write_version(
        tmp / "made", "code", version, 1, config={"crop_with": {"model": "shapes", **crop}}
    )
    return bring(home, folder)


@pytest.fixture
def detector(home: Path) -> ModelTag:
    """A detector in the store."""
    return bring(home, ROOT / "models_import/demo/shapes/v1").tag


def test_a_missing_detector_is_warned_of(home: Path, tmp_path: Path) -> None:
    imported = _classifier(home, tmp_path, "v1")
    assert imported.outcome == "imported"
    assert imported.crop_trouble == "crop_with.model: there is no model 'shapes'"
    (warning,) = warnings_of(imported)
    assert warning.startswith("code:v1: crop_with.model: there is no model 'shapes': ")


@pytest.mark.parametrize(
    ("crop", "trouble"),
    [
        ({}, None),
        ({"labels": ["circle", "star"]}, None),
        ({"labels": ["circle", "bird"]}, "crop_with.labels: shapes:v1 has no label 'bird'"),
        ({"text_prompt": "a bird"}, "crop_with.text_prompt: shapes:v1 takes none"),
        ({"model": "code"}, "crop_with.model: code names itself; name a detector"),
        ({"model": "../models/shapes"}, "crop_with.model: there is no model '../models/shapes'"),
    ],
)
@pytest.mark.usefixtures("detector")
def test_one_that_does_not_fit_is_warned_of(
    home: Path, tmp_path: Path, crop: dict[str, Any], trouble: str | None
) -> None:
    imported = _classifier(home, tmp_path, "v1", **crop)
    assert imported.crop_trouble == trouble
    assert len(warnings_of(imported)) == (trouble is not None)


def test_a_classifier_is_no_detector(home: Path, tmp_path: Path) -> None:
    bring(home, write_version(tmp_path / "made", "plain", "v1", 2))
    found = _classifier(home, tmp_path, "v1", model="plain").crop_trouble
    assert found is not None
    assert found.startswith("crop_with.model: plain:v1 is a model for image-classification")


def test_labels_of_a_file_count(home: Path, tmp_path: Path) -> None:
    """In the store, too: what is loaded knows its labels."""
    folder = tmp_path / "shapes" / "v1"
    shutil.copytree(ROOT / "models_import/demo/shapes/v1", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "labels.txt").write_text("\n".join(config["labels"]))
    (folder / "config.json").write_text(json.dumps(config | {"labels": "labels.txt"}))
    tag = bring(home, folder).tag
    version = ModelStore(home / "models").settle(tag)
    assert isinstance(version, Artifact)
    assert version.config.labels == config["labels"]
    assert _classifier(home, tmp_path, "v1", labels=["circle"]).crop_trouble is None
    found = _classifier(home, tmp_path, "v2", labels=["bird"]).crop_trouble
    assert found == "crop_with.labels: shapes:v1 has no label 'bird'"
