"""A drop folder beside the running service: copied slowly, broken, cured, taken away."""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_NOTE = "IMPORT-FAILED.txt"


class Watching:
    """`okawari import --watch` in a process of its own."""

    def __init__(self, drop: Path, store: Store) -> None:
        self.drop = drop
        self.log = store.scratch / "watch.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "okawari", "import", "--watch", drop],
                cwd=ROOT,
                env=environment(store.home, store.home, OKAWARI_LOG_LEVEL="DEBUG"),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.says("watching")

    def count(self, text: str) -> int:
        """How many lines of its log have these words."""
        return sum(text in line for line in self.log.read_text().splitlines())

    def says(self, text: str, times: int = 1) -> None:
        """Wait until so many lines have these words."""
        assert self.process.poll() is None, self.log.read_text()
        until(lambda: self.count(text) >= times, f"the log says {text!r}:\n{self.log.read_text()}")

    def end(self) -> int:
        """End it by SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


Watch = Callable[[], Watching]


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def watch(drop: Path, store: Store) -> Iterator[Watch]:
    made: list[Watching] = []

    def start() -> Watching:
        made.append(Watching(drop, store))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()


def _chunks(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A version as a slow copy brings it: config.json in two pieces, then the weights."""
    for name in ("config.json", "weights.onnx"):
        data = (folder / name).read_bytes()
        step = -(-len(data) // 2)
        yield from ((name, data[at : at + step]) for at in range(0, len(data), step))


def _absent(service: Service, store: Store, version: str) -> None:
    """Neither in the store nor served."""
    assert not (store.models / "m" / version).exists()
    assert version not in service.states()
    assert service.version() == "v1"


def test_a_slow_copy_is_served_only_when_it_is_whole(
    make_service: Start, store: Store, drop: Path, watch: Watch
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    source, target = store.source("v2", 2), drop / "m" / "v2"
    watching = watch()
    target.mkdir(parents=True)
    *first, (last_name, last) = _chunks(source)
    with Readiness(service) as readiness, Load(service, kept=1, fresh=1) as load:
        for number, (name, data) in enumerate(first, 1):
            with (target / name).open("ab") as file:
                file.write(data)
            watching.says("m/v2 has changed", times=number)
            if name == "weights.onnx":
                # At rest for long enough to be taken for whole: it was tried, and does not load.
                watching.says("not imported", times=number - 2)
            _absent(service, store, "v2")
        assert watching.count("importing") == 1
        with (target / last_name).open("ab") as file:
            file.write(last)
        load.sees("v2")
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []
    assert not list(target.glob("*IMPORT-FAILED*"))
    assert watching.end() == 0


@pytest.mark.timeout(2 * LIMIT)  # six trials, one after the other, each of which gives way to all others
def test_broken_versions_get_notes_the_old_one_serves_on_and_mending_cures_them(
    make_service: Start, store: Store, drop: Path, watch: Watch
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    watching = watch()
    good = {version: store.source(version, int(version[1:])) for version in ("v2", "v3", "v4")}
    with Readiness(service) as readiness, Load(service, kept=1, fresh=1) as load:
        for version, source in _broken(store).items():
            _copy(source, drop / "m" / version)
        for version, why in (("v2", "cannot be loaded"), ("v3", "config.json"), ("v4", "NaN")):
            note = drop / "m" / version / _NOTE
            until(note.exists, f"{version} has its note")
            assert why in note.read_text()
            _absent(service, store, version)
        load.sees("v1")

        for version, source in good.items():
            _copy(source, drop / "m" / version)
        load.sees("v4")
        until(lambda: not list(drop.rglob(f"*{_NOTE}*")), "all notes were taken back")
    assert set(service.states()) == {"v1", "v2", "v3", "v4"}
    assert load.failures == []
    assert load.contradictions == []
    assert readiness.flaps == []
    assert watching.end() == 0


def _broken(store: Store) -> dict[str, Path]:
    """One whose weights are cut off, one whose config is, one that answers NaN."""
    cut = {version: store.source(version, 1) for version in ("v2", "v3")}
    for version, name in (("v2", "weights.onnx"), ("v3", "config.json")):
        data = (cut[version] / name).read_bytes()
        (cut[version] / name).write_bytes(data[: len(data) // 2])
    return cut | {"v4": store.source("v4", 4, best=math.nan)}


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def test_a_read_only_mount_that_goes_and_comes_again(store: Store, drop: Path, watch: Watch) -> None:
    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options, drop], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")

    source = drop.parent / "source"
    for version, code in (("v1", 1), ("v2", 2)):
        _copy(store.source(version, code), source / "m" / version)
    (source / "m/v2/config.json").write_text("broken")
    mount("--bind", str(source))
    mount("-o", "remount,bind,ro")
    try:
        watching = watch()
        watching.says("imported m:v1")
        watching.says("no note can be written beside")
        watching.says("Read-only file system")
        subprocess.run(["umount", drop], check=True)
        drop.rmdir()
        watching.says("is away")
        drop.mkdir()
        watching.says("is there again")
        _copy(store.source("v3", 3), source / "m" / "v3")
        mount("--bind", str(source))
        watching.says("imported m:v3")
        assert watching.count("imported m:v1") == 1
        assert watching.end() == 0
    finally:
        subprocess.run(["umount", "--lazy", drop], check=False, capture_output=True)
