"""Reference models, pictures and answers that do not lie in the repository.

One setting says where they are: the environment variable OKAWARI_TEST_DATA, a folder with `models/`,
`images/`, `golden/` and perhaps `reference/`. Tests that need them are skipped, saying so, when it is not
set.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "OKAWARI_TEST_DATA"
_PARTS = ("models", "images", "golden")


def test_data() -> Path | None:
    """The folder, or None when the setting is absent; a setting that leads nowhere is an error."""
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    folder = Path(text)
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise FileNotFoundError(f"{VARIABLE}={text}: no folder {', '.join(missing)} in it")
    return folder


def need_data() -> Path:
    """The folder; skips the calling test or fixture, with the reason, when the setting is absent."""
    folder = test_data()
    if folder is None:
        pytest.skip(f"{VARIABLE} is not set: it names a folder with {', '.join(_PARTS)}")
    return folder


def need_reference(name: str) -> Path:
    """One folder of `reference/`: an export with results of the original library; skips without."""
    folder = need_data() / "reference" / name
    if not folder.is_dir():
        pytest.skip(f"{VARIABLE} has no folder reference/{name}")
    return folder
