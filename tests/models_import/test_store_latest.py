"""BentoML's pointer `latest`, whatever it names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hotswap.repository import ModelInfo
from models_import.pointer import newest_on_disk
from models_import.store import ModelStore
from tests.models_import.shop import day, stock
from tests.models_import.sights import a_link_to_a_device, a_socket, model


class TestLatest:
    """BentoML's pointer, which BentoML itself truncates before it writes it."""

    @pytest.fixture
    def pointer(self, home: Path, tmp_path: Path) -> Path:
        stock(home, tmp_path, "code", "v1", created=day(1))
        stock(home, tmp_path, "code", "v2", created=day(2))
        return home / "models/code/latest"

    @pytest.mark.parametrize("text", ["", "\n", "v9", "latest", "../v1", "v", "\x00\xff"])
    @pytest.mark.process
    def test_one_that_names_no_version_is_said_and_mended(
        self, pointer: Path, store: ModelStore, text: str
    ) -> None:
        pointer.write_text(text)
        found = model(store)
        assert found.latest is None
        assert found.pointer is not None
        assert set(found.versions) == {"v1", "v2"}
        subprocess.run(["sh", "-c", found.pointer.split("`")[1]], check=True)
        assert (model(store).latest, model(store).pointer) == ("v2", None)

    def test_a_missing_one_is_said(self, pointer: Path, store: ModelStore) -> None:
        pointer.unlink()
        assert model(store).latest is None
        assert "is missing" in str(model(store).pointer)

    def test_white_space_around_the_version_does_no_harm(self, pointer: Path, store: ModelStore) -> None:
        pointer.write_text("\n v1 \n")
        assert model(store).latest == "v1"

    def test_a_model_without_versions_says_so(self, home: Path, store: ModelStore) -> None:
        (home / "models/code").mkdir(parents=True)
        assert model(store) == ModelInfo("code", None, {}, model(store).pointer)
        assert "import a version" in str(model(store).pointer)

    def test_what_it_names_does_no_harm_on_a_terminal(self, pointer: Path, store: ModelStore) -> None:
        pointer.write_bytes(b"\x1b[2J\xff" + b"x" * 200)
        said = str(model(store).pointer)
        assert said.isprintable()
        assert "x" * 64 not in said

    @pytest.mark.parametrize("odd", [os.mkfifo, a_socket, os.mkdir, a_link_to_a_device])
    def test_one_that_is_no_file_is_not_waited_for(
        self, pointer: Path, store: ModelStore, odd: Callable[[Path], object]
    ) -> None:
        pointer.unlink()
        odd(pointer)
        assert "is not a regular file" in str(model(store).pointer)
        assert newest_on_disk(pointer.parent, None) == "v2"
