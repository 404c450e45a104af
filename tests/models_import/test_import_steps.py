"""The steps of an import: what is on the disk at each, who waits, what is told."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import ClassVar

import pytest

from models_import import workspace
from models_import.importer import STEPS
from models_import.progress import ImportProgress
from tests.builders import write_version
from tests.models_import.shop import bring


class TestSteps:
    def test_progress_tells_every_byte(self, home: Path, tmp_path: Path) -> None:
        class Bytes(ImportProgress):
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

        monkeypatch.setattr(workspace.os, "fsync", fsync)
        bring(home, write_version(tmp_path, "code", "v1", 1), at=at)

    def test_a_second_importer_waits_and_says_so(self, home: Path, tmp_path: Path) -> None:
        (home / "staging").mkdir(parents=True)
        held = os.open(home / "staging/import.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)

        class Waiting(ImportProgress):
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
