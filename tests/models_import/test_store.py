"""What the reader of the store says of versions that are whole, half there, broken or away."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap.artifact import Artifact, ModelSight, Unservable, Unsettled, VersionSight
from hotswap.manifest import BadManifest
from hotswap.tags import ModelTag
from models_import import model_yaml, settling, sight
from models_import import store as store_module
from models_import.pointer import newest_on_disk
from models_import.stamps import ParsedFiles
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import bring, day, stock, tree

V1 = ModelTag("code", "v1")


def model(store: ModelStore, name: str = "code") -> ModelSight:
    sights = store.look()
    assert sights is not None
    return sights[name]


def version(store: ModelStore, name: str = "v1") -> VersionSight:
    return model(store).versions[name]


def reason(store: ModelStore, name: str = "v1") -> str:
    found = version(store, name).reason
    assert found is not None
    return found


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)  # the whole path is too long for a socket


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def test_an_imported_version_is_seen_and_settles(home: Path, tmp_path: Path, store: ModelStore) -> None:
    folder = stock(home, tmp_path, "code", "v1", 7, created=day(1))
    found = model(store)
    settled = store.settle(V1)
    assert (found.latest, found.pointer) == ("v1", None)
    assert isinstance(settled, Artifact)
    assert found.versions["v1"] == VersionSight("v1", settled.digest, settled.size_bytes, day(1), None)
    assert (settled.path, settled.weights, settled.created) == (folder, folder / "weights.onnx", day(1))
    assert settled.config.family == "classifier"


def test_looking_and_settling_write_nothing(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    (home / "models/code/latest").unlink()
    before = tree(home)
    store.look()
    store.settle(V1)
    assert tree(home) == before


def test_a_store_that_is_away_is_none_and_comes_back(home: Path, tmp_path: Path, store: ModelStore) -> None:
    assert store.look() is None
    stock(home, tmp_path, "code", "v1")
    before = store.look()
    (home / "models").rename(home / "away")
    assert store.look() is None
    assert isinstance(store.settle(V1), Unsettled)
    (home / "away").rename(home / "models")
    assert store.look() == before


def test_an_empty_store_is_no_store_that_is_away(home: Path, store: ModelStore) -> None:
    (home / "models").mkdir(parents=True)
    assert store.look() == {}


class TestLatest:
    """BentoML's pointer, which BentoML itself truncates before it writes it."""

    @pytest.fixture
    def pointer(self, home: Path, tmp_path: Path) -> Path:
        stock(home, tmp_path, "code", "v1", created=day(1))
        stock(home, tmp_path, "code", "v2", created=day(2))
        return home / "models/code/latest"

    @pytest.mark.parametrize("text", ["", "\n", "v9", "latest", "../v1", "v", "\x00\xff"])
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
        assert model(store) == ModelSight("code", None, {}, model(store).pointer)
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
        assert "is no regular file" in str(model(store).pointer)
        assert newest_on_disk(pointer.parent, None) == "v2"


def test_versions_are_never_matched_by_prefix(home: Path, tmp_path: Path, store: ModelStore) -> None:
    shutil.rmtree(stock(home, tmp_path, "code", "v1"))
    stock(home, tmp_path, "code", "v10")
    assert set(model(store).versions) == {"v10"}
    assert isinstance(store.settle(V1), Unsettled)


def test_what_can_be_no_tag_is_not_there(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    for name in (".staging", "UPPER", "a b", "code/.staging-v2", "code/V3", "code/-v4", "code/latest.d-"):
        (home / "models" / name).mkdir()
    (home / "models/file").touch()
    (home / "models/code/v5").touch()
    sights = store.look()
    assert sights is not None
    assert set(sights) == {"code"}
    assert set(sights["code"].versions) == {"v1"}


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
        self.check(store, "no regular file")

    @pytest.mark.parametrize("path", ["a\\0b", "x" * 5000, "\\e[2J"])
    def test_an_odd_name_in_the_manifest(self, folder: Path, store: ModelStore, path: str) -> None:
        text = (folder / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text.replace("README.md:", f'? "{path}"\n        :'))
        self.check(store)

    def test_an_added_file_whose_name_is_no_text(self, folder: Path, store: ModelStore) -> None:
        (folder / os.fsdecode(b"\xff")).touch()
        settled = store.settle(V1)
        assert isinstance(settled, Unservable)
        assert settled.reason.isprintable()

    def test_what_nobody_thought_of(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fits(tag: ModelTag, *parts: object) -> int:
            if tag == V1:
                raise ZeroDivisionError("odd")
            return real(tag, *parts)  # type: ignore[arg-type]

        real = sight._fits
        monkeypatch.setattr(sight, "_fits", fits)
        self.check(store, "ZeroDivisionError: odd")

    def test_what_nobody_thought_of_in_settling(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settling, "digest_of", lambda _entries: 1 / 0)
        settled = store.settle(V1)
        assert isinstance(settled, Unservable)
        assert "ZeroDivisionError" in settled.reason

    def test_what_nobody_thought_of_in_a_model(
        self, folder: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(place: Path, versions: Mapping[str, VersionSight]) -> tuple[str | None, str | None]:
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
        assert isinstance(store.settle(V1), Unsettled)
        for name in ("model.yaml", "config.json", "README.md", "weights.onnx"):
            data = (whole / name).read_bytes()
            for end in (0, 1, len(data) // 2, len(data) - 1):
                (target / name).write_bytes(data[:end])
                assert reason(store)
                assert isinstance(store.settle(V1), Unsettled), f"{name} with {end} bytes"
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
        assert isinstance(settled, Unservable)
        assert name in settled.reason
        assert "`okawari remove code v1`" in settled.reason

    def test_truncated_weights_are_not_settled(self, folder: Path, store: ModelStore) -> None:
        os.truncate(folder / "weights.onnx", 100)
        assert "weights.onnx has 100 of 314 bytes" in reason(store)
        assert isinstance(store.settle(V1), Unsettled)

    def test_longer_weights_are_unservable(self, folder: Path, store: ModelStore) -> None:
        with (folder / "weights.onnx").open("ab") as file:
            file.write(b"x")
        assert isinstance(store.settle(V1), Unservable)

    def test_a_missing_file_is_not_settled(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx").unlink()
        assert isinstance(store.settle(V1), Unsettled)

    def test_an_added_file_is_unservable(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx.data").write_bytes(b"more weights")
        settled = store.settle(V1)
        assert isinstance(settled, Unservable)
        assert "weights.onnx.data was added" in settled.reason

    def test_another_digest_in_the_manifest_is_unservable(self, folder: Path, store: ModelStore) -> None:
        text = (folder / "model.yaml").read_text()
        start = text.index("digest: sha256:") + len("digest: sha256:")
        (folder / "model.yaml").write_text(text[:start] + "0" * 64 + text[start + 64 :])
        settled = store.settle(V1)
        assert isinstance(settled, Unservable)
        assert "digest" in settled.reason

    def test_a_version_copied_to_another_name_is_unservable(self, folder: Path, store: ModelStore) -> None:
        shutil.copytree(folder, folder.parent / "v2")
        assert "code:v1" in reason(store, "v2")
        assert isinstance(store.settle(ModelTag("code", "v2")), Unservable)

    @pytest.mark.parametrize("path", ["../v2/weights.onnx", "/etc/passwd", "a/../b", "./a"])
    def test_a_manifest_that_leads_out_of_the_folder_is_unservable(
        self, folder: Path, store: ModelStore, path: str
    ) -> None:
        text = (folder / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text.replace("README.md:", f"{path}:"))
        assert "not a plain path" in reason(store)
        assert not isinstance(store.settle(V1), Artifact)


def test_a_settled_version_is_not_read_again(home: Path, tmp_path: Path, store: ModelStore) -> None:
    stock(home, tmp_path, "code", "v1")
    first = store.settle(V1)
    hashed = store.operations["hashed"]
    assert hashed == 3
    assert store.settle(V1) == first
    assert store.operations["hashed"] == hashed


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
        assert isinstance(store.settle(V1), Unsettled)

    def test_a_model_that_is_a_link_out_is_not_followed(
        self, outside: Path, home: Path, store: ModelStore
    ) -> None:
        (home / "models/linked").symlink_to(outside.parent)
        assert model(store, "linked").versions == {}
        assert isinstance(store.settle(ModelTag("linked", "v1")), Unsettled)

    def test_a_file_that_is_a_link_out_is_not_followed(
        self, outside: Path, home: Path, store: ModelStore
    ) -> None:
        folder = home / "models/code/v2"
        (folder / "weights.onnx").unlink()
        (folder / "weights.onnx").symlink_to(outside / "weights.onnx")
        settled = store.settle(ModelTag("code", "v2"))
        assert isinstance(settled, Unservable)
        assert "link" in settled.reason


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
        assert isinstance(store.settle(V1), Unsettled)
        clock.now = 1.9  # type: ignore[attr-defined]
        assert isinstance(store.settle(V1), Unsettled)
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
        assert isinstance(store.settle(V1), Unsettled)
        clock.now = 3.0  # type: ignore[attr-defined]
        assert isinstance(store.settle(V1), Unsettled)
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
        assert "pre-processing is never guessed" in reason(store)
        assert f"`okawari import {folder} --config config.json --version NEW`" in reason(store)
        assert isinstance(store.settle(V1), Unservable)

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
        monkeypatch.setattr(sight, "_SAME_TICK_NS", 0)  # as if the version had been there for long
        assert version(store).reason is None
        config = folder / "config.json"
        config.write_text(config.read_text().replace("same scores", "very scores"))
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
        monkeypatch.setattr(sight, "stamp_of", lambda _status: (1, 1, now, now))
        config = (folder / "config.json").rename(folder.parent / "config.json")
        assert "no config.json" in reason(store)
        config.rename(folder / "config.json")
        assert version(store).reason is None

    def test_two_models_in_one_version_are_not_guessed_between(self, folder: Path, store: ModelStore) -> None:
        (folder / "weights.onnx").rename(folder / "a.onnx")
        shutil.copy(folder / "a.onnx", folder / "b.onnx")
        assert "2 .onnx files" in reason(store)


def test_unchanged_versions_are_not_parsed_again(home: Path, store: ModelStore, tmp_path: Path) -> None:
    source = stock(home, tmp_path, "code", "v0")
    for number in range(1, 1000):
        folder = source.parent / f"v{number}"
        folder.mkdir()
        for name in ("README.md", "weights.onnx"):
            (folder / name).hardlink_to(source / name)
        shutil.copy(source / "config.json", folder)
        text = (source / "model.yaml").read_text().replace("version: v0", f"version: v{number}")
        (folder / "model.yaml").write_text(text)
    first = model(store)
    assert len(first.versions) == 1000
    assert all(each.reason is None for each in first.versions.values())
    read = store.operations
    assert model(store) == first
    assert store.operations == read
    shutil.rmtree(source.parent / "v7")
    assert len(model(store).versions) == 999
    assert store.operations == read


def test_what_is_gone_is_forgotten(home: Path, tmp_path: Path, store: ModelStore) -> None:
    folder = stock(home, tmp_path, "code", "v1")
    store.look()
    store.settle(V1)
    shutil.rmtree(folder)
    store.look()
    parts = (store._sights._known, store._sights.yamls._known, store._sights.configs._known)
    assert not any((*parts, store._settler._hashes._known, store._settler._at_rest))
