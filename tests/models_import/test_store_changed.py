"""Files that are half there, changed, or lead elsewhere are never loaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hotswap.repository import Artifact, Incomplete, Invalid
from manifest.tags import ModelTag
from models_import.store import ModelStore
from tests.models_import.shop import stock
from tests.models_import.sights import V1, model, reason, version


class TestHalfCopied:
    """`bentoml models import` makes the folder first, then copies file by file."""

    @pytest.fixture
    def whole(self, home: Path, tmp_path: Path) -> Path:
        stock(tmp_path / "other", tmp_path, "code", "v1", 3)
        (home / "models/code/v1").mkdir(parents=True)
        return tmp_path / "other/models/code/v1"

    def test_it_is_not_settled_until_the_last_byte_is_there(
        self, whole: Path, home: Path, store: ModelStore
    ) -> None:
        target = home / "models/code/v1"
        assert "no model.yaml" in reason(store)
        assert isinstance(store.settle(V1), Incomplete)
        for name in ("model.yaml", "config.json", "README.md", "weights.onnx"):
            data = (whole / name).read_bytes()
            for end in (0, 1, len(data) // 2, len(data) - 1):
                (target / name).write_bytes(data[:end])
                assert reason(store)
                assert isinstance(store.settle(V1), Incomplete), f"{name} with {end} bytes"
            (target / name).write_bytes(data)
        assert version(store).reason is None
        assert isinstance(store.settle(V1), Artifact)

    def test_it_names_the_command_that_clears_it_away(
        self, whole: Path, home: Path, store: ModelStore
    ) -> None:
        shutil.copy(whole / "model.yaml", home / "models/code/v1")
        assert "`okawari remove code v1`" in reason(store)


class TestChangedAfterImport:
    """Files that are not what was imported are never loaded."""

    @pytest.fixture
    def folder(self, home: Path, tmp_path: Path) -> Path:
        return stock(home, tmp_path, "code", "v1", 3)

    @pytest.mark.parametrize("name", ["weights.onnx", "README.md", "config.json"])
    def test_a_flipped_byte_is_found_though_the_time_was_put_back(
        self, folder: Path, store: ModelStore, name: str
    ) -> None:
        assert isinstance(store.settle(V1), Artifact)
        path = folder / name
        before, data = path.stat(), bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        settled = store.settle(V1)
        assert isinstance(settled, Invalid)
        assert name in settled.reason
        assert "`okawari remove code v1`" in settled.reason

    def test_truncated_weights_are_not_settled(self, folder: Path, store: ModelStore) -> None:
        os.truncate(folder / "weights.onnx", 100)
        assert "weights.onnx has 100 of 314 bytes" in reason(store)
        assert isinstance(store.settle(V1), Incomplete)

    def test_longer_weights_are_unservable(self, folder: Path, store: ModelStore) -> None:
        with (folder / "weights.onnx").open("ab") as file:
            file.write(b"x")
        assert isinstance(store.settle(V1), Invalid)

    def test_a_missing_file_is_not_settled(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx").unlink()
        assert isinstance(store.settle(V1), Incomplete)

    def test_an_added_file_is_unservable(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx.data").write_bytes(b"more weights")
        settled = store.settle(V1)
        assert isinstance(settled, Invalid)
        assert "weights.onnx.data was added" in settled.reason

    def test_another_digest_in_the_manifest_is_unservable(self, folder: Path, store: ModelStore) -> None:
        text = (folder / "model.yaml").read_text()
        start = text.index("digest: sha256:") + len("digest: sha256:")
        (folder / "model.yaml").write_text(text[:start] + "0" * 64 + text[start + 64 :])
        settled = store.settle(V1)
        assert isinstance(settled, Invalid)
        assert "digest" in settled.reason

    def test_a_version_copied_to_another_name_is_unservable(self, folder: Path, store: ModelStore) -> None:
        shutil.copytree(folder, folder.parent / "v2")
        assert "code:v1" in reason(store, "v2")
        assert isinstance(store.settle(ModelTag("code", "v2")), Invalid)

    @pytest.mark.parametrize("path", ["../v2/weights.onnx", "/etc/passwd", "a/../b", "./a"])
    def test_a_manifest_that_leads_out_of_the_folder_is_unservable(
        self, folder: Path, store: ModelStore, path: str
    ) -> None:
        text = (folder / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text.replace("README.md:", f"{path}:"))
        assert "not a plain path" in reason(store)
        assert not isinstance(store.settle(V1), Artifact)


class TestLinks:
    """Nothing outside the store is served because a link leads there."""

    @pytest.fixture
    def outside(self, home: Path, tmp_path: Path) -> Path:
        stock(home, tmp_path, "code", "v2")
        return stock(tmp_path / "other", tmp_path, "code", "v1")

    def test_a_version_that_is_a_link_out_is_not_followed(
        self, outside: Path, home: Path, store: ModelStore
    ) -> None:
        (home / "models/code/v1").symlink_to(outside)
        assert "leads out of the store" in reason(store)
        assert isinstance(store.settle(V1), Incomplete)

    def test_a_model_that_is_a_link_out_is_not_followed(
        self, outside: Path, home: Path, store: ModelStore
    ) -> None:
        (home / "models/linked").symlink_to(outside.parent)
        assert model(store, "linked").versions == {}
        assert isinstance(store.settle(ModelTag("linked", "v1")), Incomplete)

    def test_a_file_that_is_a_link_out_is_not_followed(
        self, outside: Path, home: Path, store: ModelStore
    ) -> None:
        folder = home / "models/code/v2"
        (folder / "weights.onnx").unlink()
        (folder / "weights.onnx").symlink_to(outside / "weights.onnx")
        settled = store.settle(ModelTag("code", "v2"))
        assert isinstance(settled, Invalid)
        assert "link" in settled.reason
