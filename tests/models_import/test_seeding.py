"""Demo models are offered to a home once."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from models_import.candidates import Wanted, candidates
from models_import.demo_models import DEMO, seed
from models_import.errors import ImportRefused
from tests.builders import write_version
from tests.models_import.shop import bring, importer


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_version(tmp_path / "demo", name, "v1", 1)
    return tmp_path / "demo"


def names(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir())


def test_a_new_home_gets_them_and_a_second_time_does_nothing(home: Path, demo: Path) -> None:
    assert [str(done.tag) for done in seed(home, importer(home), demo=demo)] == ["one:v1", "two:v1"]
    assert seed(home, importer(home), demo=demo) == []
    assert names(home) == ["one", "two"]


def test_removed_ones_stay_removed(home: Path, demo: Path) -> None:
    seed(home, importer(home), demo=demo)
    shutil.rmtree(home / "models/one")
    assert seed(home, importer(home), demo=demo) == []
    assert names(home) == ["two"]


def test_store_and_state_may_lie_apart(home: Path, demo: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    seed(state, importer(home), demo=demo)
    assert names(home) == ["one", "two"]
    assert not (home / "state").exists()
    assert seed(state, importer(home), demo=demo) == []


def test_one_that_was_interrupted_goes_on(home: Path, demo: Path) -> None:
    def at(step: str) -> None:
        if step == "publish" and (home / "models/one/v1").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed(home, importer(home, at=at), demo=demo)
    assert [str(done.tag) for done in seed(home, importer(home), demo=demo)] == ["two:v1"]


def test_a_tag_that_somebody_else_took_is_told_and_left(home: Path, demo: Path, tmp_path: Path) -> None:
    bring(home, write_version(tmp_path / "mine", "one", "v1", 9))
    told: list[str] = []
    seed(home, importer(home), demo=demo, refused=told.append)
    assert len(told) == 1
    assert seed(home, importer(home), demo=demo, refused=told.append) == []
    assert len(told) == 1
    assert names(home) == ["one", "two"]


def test_a_full_disk_is_an_error_and_tried_again(home: Path, demo: Path) -> None:
    with pytest.raises(ImportRefused, match="MB are free"):
        seed(home, importer(home, free_bytes=lambda: 0), demo=demo)
    assert len(seed(home, importer(home), demo=demo)) == 2


def test_a_damaged_marker_is_said(home: Path, demo: Path) -> None:
    (home / "state").mkdir(parents=True)
    (home / "state/seeded.json").write_text("{")
    with pytest.raises(ImportRefused, match=r"seeded\.json is damaged"):
        seed(home, importer(home), demo=demo)


@pytest.mark.process
def test_two_at_once_do_it_once(home: Path, demo: Path) -> None:
    fork = multiprocessing.get_context("fork")
    begin, counts = fork.Barrier(2), fork.Queue()

    def run() -> None:
        begin.wait()
        counts.put(len(seed(home, importer(home), demo=demo)))

    processes = [fork.Process(target=run) for _ in range(2)]
    for process in processes:
        process.start()
    found = sorted(counts.get() for _ in processes)
    for process in processes:
        process.join()
    assert found == [0, 2]
    assert names(home) == ["one", "two"]


def test_exposure_is_what_its_builder_builds() -> None:
    from examples.exposure_graph import build, config

    folder = DEMO / "exposure/v1"
    assert (folder / "weights.onnx").read_bytes() == build()
    document = json.loads((folder / "config.json").read_bytes())
    assert document.pop("created") == "2026-01-01T00:00:00+00:00"
    assert document == config()


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_our_demo_models_pass_the_importer(home: Path) -> None:
    from models_import.probe import probe

    done = seed(home, importer(home, probe=probe))
    assert {str(one.tag) for one in done} == {
        f"{each.path.parent.name}:{each.path.name}" for each in candidates(DEMO, Wanted())
    }
    assert "exposure:v1" in {str(one.tag) for one in done}
