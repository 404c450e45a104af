"""`import --watch`: what it refuses, and how a signal ends it."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders import write_version
from tests.cli.conftest import Okawari
from tests.e2e.waiting import until
from tests.models_import.shop import environment

SOON = 60.0


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


class TestRefused:
    def test_with_a_path_or_another_option(self, okawari: Okawari, drop: Path) -> None:
        for more in (["drop"], ["--name", "x"], ["--version", "1"]):
            assert (
                "--watch DIR takes no PATH" in okawari("import", "--watch", drop, *more, exit_code=2).stderr
            )

    def test_neither_path_nor_folder(self, okawari: Okawari) -> None:
        assert "Missing argument" in okawari("import", exit_code=2).stderr

    def test_a_file(self, okawari: Okawari, drop: Path) -> None:
        (drop / "file").touch()
        okawari("import", "--watch", drop / "file", exit_code=2)

    @pytest.mark.parametrize("place", ["home", "home/models", "home/models/code", "home/staging/x", "."])
    def test_the_store_itself(self, okawari: Okawari, tmp_path: Path, place: str) -> None:
        assert (
            "must not contain each other"
            in okawari("import", "--watch", tmp_path / place, exit_code=1).stderr
        )


class Watching:
    """The real command in a process of its own."""

    def __init__(self, drop: Path, home: Path) -> None:
        self.log = home.parent / "watch.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "import", "--watch", str(drop)],
                env=environment(home) | {"OKAWARI_HOME": str(home)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def says(self, text: str) -> None:
        """Wait until its log has these words."""
        until(lambda: self._said(text), f"its log has {text!r}", SOON)

    def _said(self, text: str) -> bool:
        ended = self.process.poll() is not None
        log = self.log.read_text()
        assert text in log or not ended, log
        return text in log

    def ended_by(self, number: int) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(SOON)


Start = Callable[[], Watching]


@pytest.fixture
def watch(drop: Path, home: Path) -> Iterator[Start]:
    made: list[Watching] = []

    def start() -> Watching:
        made.append(Watching(drop, home))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()


@pytest.mark.e2e
@pytest.mark.timeout(120)
class TestEnds:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_by_a_signal_while_it_waits(self, watch: Start, drop: Path, home: Path, number: int) -> None:
        write_version(drop, "code", "v1", 1)
        one = watch()
        one.says("imported code:v1")
        assert one.ended_by(number) == 0
        lines = one.log.read_text().splitlines()
        assert lines[-1].endswith("Z INFO ended")
        assert all(line[:2] == "20" for line in lines)
        assert (home / "models/code/latest").read_text() == "v1"

    def test_by_a_signal_while_another_import_holds_the_store(
        self, watch: Start, drop: Path, home: Path
    ) -> None:
        write_version(drop, "code", "v1", 1)
        (home / "staging").mkdir(parents=True)
        with (home / "staging/import.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            one = watch()
            one.says("waiting for another import to finish")
            assert one.ended_by(signal.SIGTERM) == 0
        assert not (home / "models/code").exists()
