"""How a version comes in: what is accepted, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest

from hotswap.artifact import Artifact
from hotswap.manifest import Measured
from hotswap.tags import ModelTag
from models_import import importer as importer_module
from models_import import staging
from models_import.errors import ImportRefused
from models_import.importer import STEPS
from models_import.model_yaml import read
from models_import.probe import Task
from models_import.report import Report
from models_import.sources import Wanted, candidates
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import bring, day, importer, not_tried, stock, tree


def latest(home: Path, name: str = "code") -> str:
    return (home / "models" / name / "latest").read_text()


class TestWhatComesIn:
    def test_a_folder(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        done = bring(home, write_version(tmp_path, "code", "v7", 1))
        settled = store.settle(ModelTag("code", "v7"))
        assert isinstance(settled, Artifact)
        assert (done.outcome, done.digest, done.latest) == ("imported", settled.digest, "v7")
        assert settled.measured == not_tried(Task.model_construct())
        assert sorted(path.name for path in settled.path.iterdir()) == [
            "README.md",
            "config.json",
            "model.yaml",
            "weights.onnx",
        ]

    def test_a_config_above_one_megabyte_is_not_read(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "config.json").write_text(" " * 1_000_001)
        with pytest.raises(ImportRefused, match=r"config\.json is larger than"):
            bring(home, folder)

    def test_more_files_than_a_readable_model_yaml_names(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importer_module, "LARGEST", 500)
        with pytest.raises(ImportRefused, match=r"its 3 files make a model\.yaml of more than 500 bytes"):
            bring(home, write_version(tmp_path, "code", "v1", 1))

    def test_a_file_whose_name_is_no_text(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / os.fsdecode(b"\xff")).touch()
        with pytest.raises(ImportRefused, match="must be UTF-8"):
            bring(home, folder)

    @pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"])
    def test_a_moment_at_the_limits_of_time(self, home: Path, tmp_path: Path, created: str) -> None:
        folder = write_version(tmp_path, "code", "v1", 1, config={"created": created})
        with pytest.raises(ImportRefused, match=r"config\.json: created: .* years 1 to 9999"):
            bring(home, folder)

    def test_a_folder_with_golden_pictures(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        golden = [{"file": "golden/a.png"}]
        folder = write_version(tmp_path, "code", "v1", 1, config={"golden": golden})
        with pytest.raises(ImportRefused, match=r"golden/a\.png is not in the version's folder"):
            bring(home, folder)
        (folder / "golden").mkdir()
        (folder / "golden/a.png").write_bytes(b"picture")
        bring(home, folder)
        assert (home / "models/code/v1/golden/a.png").read_bytes() == b"picture"
        assert isinstance(store.settle(ModelTag("code", "v1")), Artifact)

    def test_the_only_onnx_file_whatever_its_name(
        self, home: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "weights.onnx").rename(folder / "best.onnx")
        bring(home, folder)
        settled = store.settle(ModelTag("code", "v1"))
        assert isinstance(settled, Artifact)
        assert settled.weights.name == "best.onnx"

    def test_a_tree_in_natural_order_where_an_integer_is_a_version(self, tmp_path: Path) -> None:
        for version in ("10", "2", "v1", "V3"):
            write_version(tmp_path / "tree", "code", version, 1)
        write_version(tmp_path / "tree", "another", "1", 1)
        (tmp_path / "tree/code/notes").mkdir()
        (tmp_path / "tree/.git/objects").mkdir(parents=True)
        (tmp_path / "tree/README.md").touch()
        found = candidates(tmp_path / "tree", Wanted())
        home = tmp_path / "home"
        tags = [str(importer(home).run(candidate).tag) for candidate in found]
        assert tags == ["another:v1", "code:v1", "code:v2", "code:v3", "code:v10"]
        assert latest(home) == "v10"

    def test_a_models_folder_alone(self, tmp_path: Path) -> None:
        for version in ("v2", "v1"):
            write_version(tmp_path, "code", version, 1)
        found = candidates(tmp_path / "code", Wanted())
        assert [candidate.path.name for candidate in found] == ["v1", "v2"]
        assert not any(candidate.named for candidate in found)

    def test_a_tree_without_versions_is_empty(self, tmp_path: Path) -> None:
        (tmp_path / "tree/some/thing").mkdir(parents=True)
        assert candidates(tmp_path / "tree", Wanted()) == []

    def test_one_onnx_file_with_its_config(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        folder = write_version(tmp_path, "x", "y", 5)
        (folder / "weights.onnx").rename(tmp_path / "run7.onnx")
        wanted = Wanted("code", "7", folder / "config.json")
        assert str(bring(home, tmp_path / "run7.onnx", wanted).tag) == "code:v7"
        assert isinstance(store.settle(ModelTag("code", "v7")), Artifact)

    @pytest.mark.parametrize(
        "wanted", [Wanted(), Wanted("code", "v1"), Wanted("code", None, Path("/dev/null"))]
    )
    def test_one_onnx_file_without_them(self, home: Path, tmp_path: Path, wanted: Wanted) -> None:
        weights = write_version(tmp_path, "code", "v1", 5) / "weights.onnx"
        with pytest.raises(ImportRefused, match="--config FILE, --name NAME and --version V"):
            bring(home, weights, wanted)

    def test_name_version_and_config_can_be_said(self, home: Path, tmp_path: Path) -> None:
        other = write_version(tmp_path, "other", "v1", 5, config={"description": "said"}) / "config.json"
        done = bring(home, write_version(tmp_path, "code", "v1", 5), Wanted("Said", "9", other))
        assert str(done.tag) == "said:v9"
        assert "said" in (home / "models/said/v9/config.json").read_text()

    def test_hidden_files_are_left_behind(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / ".DS_Store").touch()
        (folder / ".git").mkdir()
        (folder / ".git/HEAD").touch()
        bring(home, folder)
        assert not list((home / "models").rglob(".*"))


class TestCreated:
    """`latest` means what BentoML says: the newest creation time."""

    def test_a_config_may_state_it(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", created=day(3))
        assert read(home / "models/code/v1").created == day(3)

    def test_else_it_is_the_time_of_import(self, home: Path, tmp_path: Path) -> None:
        bring(home, write_version(tmp_path, "code", "v1", 1), now=lambda: day(4))
        assert read(home / "models/code/v1").created == day(4)

    def test_importing_an_older_one_leaves_latest_and_says_so(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v2", created=day(2))
        done = bring(home, write_version(tmp_path, "code", "v1", 1, created=day(1)))
        assert (done.outcome, done.latest, latest(home)) == ("imported", "v2", "v2")

    def test_of_two_made_at_once_the_later_import_is_latest(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v2", created=day(1))
        stock(home, tmp_path, "code", "v1", created=day(1))
        assert latest(home) == "v1"

    @pytest.mark.parametrize("text", ["", "v9", None])
    def test_an_import_mends_a_pointer_that_names_nothing(
        self, home: Path, tmp_path: Path, text: str | None
    ) -> None:
        stock(home, tmp_path, "code", "v2", created=day(2))
        pointer = home / "models/code/latest"
        pointer.unlink() if text is None else pointer.write_text(text)
        stock(home, tmp_path, "code", "v1", created=day(1))
        assert latest(home) == "v2"


class TestImmutable:
    """A version never changes."""

    def test_the_same_tag_with_other_files_is_refused(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", 1)
        before = tree(home / "models")
        with pytest.raises(ImportRefused, match="another one with --version"):
            bring(home, write_version(tmp_path, "code", "v1", 2))
        assert tree(home / "models") == before

    def test_the_same_tag_with_the_same_files_is_unchanged(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", 1)
        before = tree(home / "models")
        assert bring(home, tmp_path / "made/code/v1").outcome == "unchanged"
        assert tree(home / "models") == before

    def test_the_same_files_by_another_tag_are_another_version(self, home: Path, tmp_path: Path) -> None:
        first = bring(home, write_version(tmp_path, "code", "v1", 1, created=day(1)))
        second = bring(home, tmp_path / "code/v1", Wanted(version="v2"))
        assert (second.outcome, second.digest) == ("imported", first.digest)
        assert (home / "models/code/v2").is_dir()

    def test_a_damaged_one_is_not_called_unchanged(self, home: Path, tmp_path: Path) -> None:
        folder = stock(home, tmp_path, "code", "v1", 1)
        (folder / "weights.onnx").write_bytes(b"damaged")
        with pytest.raises(ImportRefused, match="damaged: `okawari remove code v1`"):
            bring(home, tmp_path / "made/code/v1")

    def test_a_half_copied_one_is_named(self, home: Path, tmp_path: Path) -> None:
        (home / "models/code/v1").mkdir(parents=True)
        with pytest.raises(ImportRefused, match=r"not whole.*`okawari remove code v1`"):
            bring(home, write_version(tmp_path, "code", "v1", 1))


class TestRefused:
    """What is refused leaves no trace in the store."""

    @pytest.fixture(autouse=True)
    def _store_stays_as_it_was(self, home: Path, tmp_path: Path) -> object:
        stock(home, tmp_path / "first", "code", "v0", 1)
        before = tree(home / "models")
        yield
        assert tree(home / "models") == before
        assert [path.name for path in (home / "staging").iterdir()] == ["import.lock"]

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"family": "yolo"}, "family"),
            ({"task": "segmentation"}, "task"),
            ({"input": {"width": 0, "height": 32}}, "input.width"),
            ({"nonsense": 1}, "nonsense"),
            ({"created": "2026-01-01T00:00:00"}, "created"),
        ],
    )
    def test_a_wrong_config_by_field(
        self, home: Path, tmp_path: Path, config: dict[str, object], said: str
    ) -> None:
        with pytest.raises(ImportRefused, match=said):
            bring(home, write_version(tmp_path, "code", "v1", 1, config=config))

    def test_no_config(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "config.json").unlink()
        with pytest.raises(ImportRefused, match="pre-processing is never guessed"):
            bring(home, folder)

    def test_no_model_or_two(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        data = (folder / "weights.onnx").read_bytes()
        (folder / "weights.onnx").unlink()
        with pytest.raises(ImportRefused, match=r"no model: put weights\.onnx"):
            bring(home, folder)
        for name in ("a.onnx", "b.onnx"):
            (folder / name).write_bytes(data)
        with pytest.raises(ImportRefused, match=r"2 \.onnx files"):
            bring(home, folder)

    @pytest.mark.parametrize("name", ["a b", "..", "ä", "x" * 64, "-a"])
    def test_a_name_that_can_be_no_tag(self, home: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(ImportRefused, match="allowed are at most 63"):
            bring(home, write_version(tmp_path, "code", "v1", 1), Wanted(name=name))

    def test_a_version_called_latest(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="a target, not a version"):
            bring(home, write_version(tmp_path, "code", "latest", 1))

    def test_a_link_out_of_the_folder(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)
        (folder / "secret").symlink_to("/etc/passwd")
        with pytest.raises(ImportRefused, match="leads out of its folder"):
            bring(home, folder)

    def test_a_link_within_the_folder_is_followed(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path / "other", "linked", "v1", 1)
        (folder / "NOTES.md").symlink_to("README.md")
        other = tmp_path / "home-of-its-own"
        bring(other, folder)
        assert not (other / "models/linked/v1/NOTES.md").is_symlink()

    def test_too_little_space(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match=r"it needs 11 MB.*, 5 MB are free"):
            bring(home, write_version(tmp_path, "code", "v1", 1), free_bytes=lambda: 5_000_000)

    def test_staging_on_another_disk(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = Path("/dev/shm")
        if not other.is_dir() or other.stat().st_dev == home.stat().st_dev:
            pytest.skip("there is no second file system")
        elsewhere = other / f"okawari-{os.getpid()}"
        elsewhere.mkdir()
        (home / "staging").rename(home / "kept")
        (home / "staging").symlink_to(elsewhere)
        try:
            with pytest.raises(ImportRefused, match="mount the whole home as one"):
                bring(home, write_version(tmp_path, "code", "v1", 1))
        finally:
            (home / "staging").unlink()
            (home / "kept").rename(home / "staging")
            elsewhere.rmdir()

    def test_what_the_probe_refuses(self, home: Path, tmp_path: Path) -> None:
        def refuse(task: Task) -> Measured:
            raise ImportRefused("it is no good")

        with pytest.raises(ImportRefused, match="code/v1: it is no good"):
            bring(home, write_version(tmp_path, "code", "v1", 1), probe=refuse)

    def test_a_file_that_vanishes_meanwhile(self, home: Path, tmp_path: Path) -> None:
        folder = write_version(tmp_path, "code", "v1", 1)

        def at(step: str) -> None:
            if step == "copy":
                (folder / "weights.onnx").unlink()

        with pytest.raises(ImportRefused, match=r"weights\.onnx: No such file"):
            bring(home, folder, at=at)


class TestSteps:
    def test_progress_tells_every_byte(self, home: Path, tmp_path: Path) -> None:
        class Bytes(Report):
            seen: ClassVar[list[tuple[int, int]]] = []

            def progress(self, done: int, total: int) -> None:
                self.seen.append((done, total))

        folder = write_version(tmp_path, "code", "v1", 1, bytes_of_ballast=3 << 20)
        bring(home, folder, report=Bytes())
        total = sum(path.stat().st_size for path in folder.iterdir())
        assert Bytes.seen[-1] == (total, total)
        assert Bytes.seen == sorted(Bytes.seen)
        assert len(Bytes.seen) > 4

    def test_nothing_is_in_the_store_before_it_is_published(self, home: Path, tmp_path: Path) -> None:
        seen = {}

        def at(step: str) -> None:
            seen[step] = (home / "models/code/v1").exists()

        bring(home, write_version(tmp_path, "code", "v1", 1), at=at)
        assert list(seen) == [name for name, _, _ in STEPS] + ["done"]
        assert [step for step, there in seen.items() if there] == ["latest", "clean", "done"]

    def test_it_is_published_in_one_step(self, home: Path, tmp_path: Path) -> None:
        staged = []

        def at(step: str) -> None:
            if step == "publish":
                staged.extend(path.stat().st_ino for path in (home / "staging").glob("*/version"))

        bring(home, write_version(tmp_path, "code", "v1", 1), at=at)
        assert staged == [(home / "models/code/v1").stat().st_ino]

    def test_every_byte_is_on_the_disk_before_it_is_published(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: set[str] = set()
        real = os.fsync

        def fsync(handle: int) -> None:
            synced.add(Path(f"/proc/self/fd/{handle}").readlink().name)
            real(handle)

        def at(step: str) -> None:
            if step == "publish":
                assert synced >= {"weights.onnx", "config.json", "README.md", "model.yaml", "version"}
                synced.clear()
            if step == "latest":
                assert synced == {"code"}
                synced.clear()
            if step == "clean":
                assert synced >= {"code", "latest"}

        monkeypatch.setattr(staging.os, "fsync", fsync)
        bring(home, write_version(tmp_path, "code", "v1", 1), at=at)

    def test_a_second_importer_waits_and_says_so(self, home: Path, tmp_path: Path) -> None:
        (home / "staging").mkdir(parents=True)
        held = os.open(home / "staging/import.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)

        class Waiting(Report):
            told: ClassVar[list[str]] = []

            def waiting(self, what: str) -> None:
                self.told.append(what)
                os.close(held)

        assert bring(home, write_version(tmp_path, "code", "v1", 1), report=Waiting()).latest == "v1"
        assert Waiting.told == ["another import to finish"]

    def test_left_overs_are_swept(self, home: Path, tmp_path: Path) -> None:
        (home / "staging/old/version").mkdir(parents=True)
        (home / "staging/old/version/weights.onnx").touch()
        (home / "staging/file").touch()
        (home / "staging/link").symlink_to(tmp_path)
        bring(home, write_version(tmp_path, "code", "v1", 1))
        assert [path.name for path in (home / "staging").iterdir()] == ["import.lock"]
        assert tmp_path.is_dir()


def test_model_yaml_is_the_one_that_bentoml_writes(home: Path, tmp_path: Path) -> None:
    stock(home, tmp_path, "code", "v1", created=day(1))
    document = dict(read(home / "models/code/v1").document)
    assert list(document) == [
        "name",
        "version",
        "module",
        "labels",
        "options",
        "metadata",
        "context",
        "signatures",
        "api_version",
        "creation_time",
    ]
    assert datetime.fromisoformat(document["creation_time"]) == day(1)
