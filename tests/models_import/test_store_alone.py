"""One broken version stops no other, and no other model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap.repository import Artifact, Invalid, VersionInfo
from manifest.tags import ModelTag
from manifest.version_manifest import BadManifest
from models_import import integrity, model_yaml, version_reader
from models_import import store as store_module
from models_import.fingerprints import ParsedFiles
from models_import.store import ModelStore
from tests.models_import.shop import stock
from tests.models_import.sights import V1, a_link_to_a_device, a_socket, model, reason, version


class TestOneAlone:
    """One version can never stop the others, nor can one model."""

    @pytest.fixture
    def folder(self, home: Path, tmp_path: Path) -> Path:
        stock(home, tmp_path, "good", "v1", 1)
        stock(home, tmp_path, "code", "v2", 2)
        return stock(home, tmp_path, "code", "v1", 3)

    def check(self, store: ModelStore, said: str = "") -> None:
        """v1 is refused, all else serves."""
        assert said in reason(store)
        assert reason(store).isprintable()
        assert not isinstance(store.settle(V1), Artifact)
        assert version(store, "v2").reason is None
        assert isinstance(store.settle(ModelTag("code", "v2")), Artifact)
        assert isinstance(store.settle(ModelTag("good", "v1")), Artifact)

    @pytest.mark.parametrize("name", ["model.yaml", "config.json"])
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (b"creation_time: 2026-13-45\n", ""),
            (b"!!bool zz", ""),
            (b"[" * 500_000, ""),
            (b'{"\\u0000": [1e999, {}]}', ""),
            (b" " * 1_000_001, "larger than"),
        ],
    )
    def test_an_odd_file(self, folder: Path, store: ModelStore, name: str, text: bytes, said: str) -> None:
        (folder / name).write_bytes(text)
        self.check(store, said)

    @pytest.mark.parametrize("name", ["model.yaml", "config.json"])
    @pytest.mark.parametrize("odd", [os.mkfifo, a_socket, os.mkdir, a_link_to_a_device])
    def test_one_that_is_no_file(
        self, folder: Path, store: ModelStore, name: str, odd: Callable[[Path], object]
    ) -> None:
        (folder / name).unlink()
        odd(folder / name)
        self.check(store, "not a regular file")

    @pytest.mark.parametrize("path", ["a\\0b", "x" * 5000, "\\e[2J"])
    def test_an_odd_name_in_the_manifest(self, folder: Path, store: ModelStore, path: str) -> None:
        text = (folder / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text.replace("README.md:", f'? "{path}"\n        :'))
        self.check(store)

    def test_an_added_file_whose_name_is_no_text(self, folder: Path, store: ModelStore) -> None:
        (folder / os.fsdecode(b"\xff")).touch()
        settled = store.settle(V1)
        assert isinstance(settled, Invalid)
        assert settled.reason.isprintable()

    def test_what_nobody_thought_of(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fits(tag: ModelTag, *parts: object) -> int:
            if tag == V1:
                raise ZeroDivisionError("odd")
            return real(tag, *parts)  # type: ignore[arg-type]

        real = version_reader._fits
        monkeypatch.setattr(version_reader, "_fits", fits)
        self.check(store, "ZeroDivisionError: odd")

    def test_what_nobody_thought_of_in_settling(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(integrity, "digest_of", lambda _entries: 1 / 0)
        settled = store.settle(V1)
        assert isinstance(settled, Invalid)
        assert "ZeroDivisionError" in settled.reason

    def test_what_nobody_thought_of_in_a_model(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(place: Path, versions: Mapping[str, VersionInfo]) -> tuple[str | None, str | None]:
            if place.name == "code":
                raise ZeroDivisionError("odd")
            return "v1", None

        monkeypatch.setattr(store_module, "read_pointer", read)
        assert model(store).pointer == "cannot be read: ZeroDivisionError: odd"
        assert set(model(store, "good").versions) == {"v1"}

    @pytest.mark.parametrize("place", ["code", "code/v1"])
    def test_a_link_that_leads_to_itself(
        self, folder: Path, home: Path, store: ModelStore, place: str
    ) -> None:
        shutil.rmtree(home / "models" / place)
        (home / "models" / place).symlink_to(Path(place).name)
        sights = store.look()
        assert sights is not None
        assert "cannot be read" in str(sights["code"].pointer or sights["code"].versions["v1"].reason)
        assert isinstance(store.settle(ModelTag("good", "v1")), Artifact)
        assert not isinstance(store.settle(V1), Artifact)

    # The same place is written to again and again.
    @pytest.mark.slow
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(data=st.data(), odd=st.binary(max_size=12))
    def test_any_bytes_anywhere(
        self, folder: Path, store: ModelStore, data: st.DataObject, odd: bytes
    ) -> None:
        path = folder / data.draw(st.sampled_from(["model.yaml", "config.json", "../latest"]))
        before = path.read_bytes()
        start, end = data.draw(st.integers(0, len(before))), data.draw(st.integers(0, len(before)))
        try:
            path.write_bytes(before[:start] + odd + before[end:])
            version(store)
            store.settle(V1)
            assert version(store, "v2").reason is None
            assert set(model(store, "good").versions) == {"v1"}
        finally:
            path.write_bytes(before)


def test_a_refusal_that_is_remembered_does_not_grow(tmp_path: Path) -> None:
    files, path = ParsedFiles(model_yaml.parse), tmp_path / "model.yaml"
    path.touch()
    lengths = []
    for _ in range(3):
        with pytest.raises(BadManifest) as refused:
            files.get(path)
        lengths.append(len(refused.traceback))
    assert files.reads == 1
    assert lengths[0] == lengths[-1]
