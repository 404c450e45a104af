"""Versions that BentoML imported without us."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hotswap.repository import Artifact, Incomplete, Invalid
from models_import import fingerprints, version_reader
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import bring, day
from tests.models_import.sights import V1, reason, version


class TestForeign:
    """Versions that BentoML imported and that carry no manifest of ours."""

    @pytest.fixture
    def folder(self, home: Path, tmp_path: Path) -> Path:
        folder = home / "models/code/v1"
        shutil.copytree(write_version(tmp_path, "code", "v1", 5), folder)
        (folder / "model.yaml").write_text(
            "name: code\nversion: v1\nmodule: ''\nlabels: {}\noptions: {}\nmetadata: {}\n"
            "context: {framework_name: '', framework_versions: {}, bentoml_version: 1.4.39, "
            "python_version: 3.11.7}\nsignatures: {}\napi_version: v1\ncreation_time: '2026-01-02T00:00:00'\n"
        )
        return folder

    def test_it_settles_when_two_looks_two_seconds_apart_agree(
        self, folder: Path, store: ModelStore, clock: object
    ) -> None:
        assert isinstance(store.settle(V1), Incomplete)
        clock.now = 1.9  # type: ignore[attr-defined]
        assert isinstance(store.settle(V1), Incomplete)
        assert store.operations["hashed"] == 0
        clock.now = 2.0  # type: ignore[attr-defined]
        settled = store.settle(V1)
        assert isinstance(settled, Artifact)
        assert settled.weights == folder / "weights.onnx"
        assert settled.created == day(1)

    def test_a_change_begins_the_wait_anew(self, folder: Path, store: ModelStore, clock: object) -> None:
        store.settle(V1)
        clock.now = 1.5  # type: ignore[attr-defined]
        (folder / "weights.onnx").write_bytes(b"other")
        assert isinstance(store.settle(V1), Incomplete)
        clock.now = 3.0  # type: ignore[attr-defined]
        assert isinstance(store.settle(V1), Incomplete)
        clock.now = 3.5  # type: ignore[attr-defined]
        assert isinstance(store.settle(V1), Artifact)

    def test_it_has_the_digest_that_our_import_would_give_it(
        self, folder: Path, store: ModelStore, clock: object, tmp_path: Path
    ) -> None:
        ours = bring(tmp_path / "other", tmp_path / "code/v1")
        store.settle(V1)
        clock.now = 2.0  # type: ignore[attr-defined]
        settled = store.settle(V1)
        assert isinstance(settled, Artifact)
        assert settled.digest == ours.digest

    def test_without_config_it_is_unservable_and_names_the_command(
        self, folder: Path, store: ModelStore
    ) -> None:
        (folder / "config.json").unlink()
        assert "preprocessing is never guessed" in reason(store)
        assert f"`okawari import {folder} --config config.json --version NEW`" in reason(store)
        assert isinstance(store.settle(V1), Invalid)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"classifier"', '"nonsense"', "family"),
            ('"width": 32', '"width": -1', "input.width"),
            ('"labels"', '"lables"', "lables"),
        ],
    )
    def test_a_bad_config_is_named_by_field(
        self, folder: Path, store: ModelStore, old: str, new: str, said: str
    ) -> None:
        config = folder / "config.json"
        config.write_text(config.read_text().replace(old, new))
        assert said in reason(store)
        assert not isinstance(store.settle(V1), Artifact)

    def test_a_config_changed_in_place_is_the_one_that_counts(
        self, folder: Path, store: ModelStore, clock: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fingerprints, "_SAME_TICK_NS", 0)  # as if the version had been there for long
        assert version(store).reason is None
        config = folder / "config.json"
        config.write_text(config.read_text().replace("same scores", "very scores"))
        os.utime(config, (2e9, 2e9))  # of another tick for certain, however quick the machine
        store.settle(V1)
        clock.now = 2.0  # type: ignore[attr-defined]
        settled = store.settle(V1)
        assert isinstance(settled, Artifact)
        assert "very scores" in settled.config.description

    def test_a_config_mended_in_place_is_seen(self, folder: Path, store: ModelStore) -> None:
        good = (folder / "config.json").read_text()
        (folder / "config.json").write_text(good.replace("classifier", "nonsense"))
        assert reason(store)
        (folder / "config.json").write_text(good)
        assert version(store).reason is None

    def test_a_config_that_comes_within_one_tick_of_the_clock_is_seen(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time_ns()
        monkeypatch.setattr(fingerprints, "_SAME_TICK_NS", 10**12)  # however slow the machine
        monkeypatch.setattr(version_reader, "stamp_of", lambda _status: (1, 1, now, now))
        config = (folder / "config.json").rename(folder.parent / "config.json")
        assert "no config.json" in reason(store)
        config.rename(folder / "config.json")
        assert version(store).reason is None

    def test_two_models_in_one_version_are_not_guessed_between(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx").rename(folder / "a.onnx")
        shutil.copy(folder / "a.onnx", folder / "b.onnx")
        assert "2 .onnx files" in reason(store)
