"""A model is tried in a process of its own, with the runner that will serve it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from manifest.version_manifest import Measured
from models_import import probe as probing
from models_import.errors import ImportRefused
from models_import.probe import Task, probe
from tests.builders import write_heavy_version, write_version
from tests.models_import.shop import bring

#: Each starts a process that imports much; on a busy machine that alone takes seconds.
pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


def task(folder: Path, limit: float = 60.0) -> Task:
    return Task(
        folder=folder,
        name="code",
        version="v1",
        weights="weights.onnx",
        digest="sha256:" + "0" * 64,
        size_bytes=1,
        limit=limit,
    )


def test_a_good_model_is_measured(tmp_path: Path) -> None:
    measured = probe(task(write_heavy_version(tmp_path, "code", "v1", 1)))
    assert measured.resident_bytes > 90_000_000
    assert measured.peak_bytes >= measured.resident_bytes
    assert measured.load_seconds > 0


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"best": float("nan")}, "(?i)nan|finite"),
        ({"config": {"labels": ["one"]}}, "label"),
        ({"config": {"input": {"width": 64, "height": 32}}}, "width"),
        ({"config": {"output": {"names": ["nonsense"]}}}, "nonsense"),
    ],
)
def test_a_model_that_cannot_answer_is_refused_with_the_reason(
    home: Path, tmp_path: Path, parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(ImportRefused, match=said):
        bring(home, write_version(tmp_path, "code", "v1", 1, **parts), probe=probe)
    assert list((home / "models").iterdir()) == []


def test_golden_pictures_are_looked_at(home: Path, tmp_path: Path) -> None:
    folder = write_version(tmp_path, "code", "v1", 1, config={"golden": [{"file": "golden.png"}]})
    (folder / "golden.png").write_bytes(b"no picture")
    with pytest.raises(ImportRefused, match=r"golden\.png"):
        bring(home, folder, probe=probe)


@pytest.mark.parametrize("keep", [1, 100, 250])
def test_truncated_weights_are_refused(home: Path, tmp_path: Path, keep: int) -> None:
    folder = write_version(tmp_path, "code", "v1", 1)
    os.truncate(folder / "weights.onnx", keep)
    with pytest.raises(ImportRefused, match=r"code/v1: the model cannot be used"):
        bring(home, folder, probe=probe)


def test_no_place_in_staging_is_told(home: Path, tmp_path: Path) -> None:
    def refuse(task: Task) -> Measured:
        raise ImportRefused(f"terminate called, what(): {task.folder / 'weights.onnx'} is bad")

    with pytest.raises(ImportRefused, match=r"what\(\): weights\.onnx is bad"):
        bring(home, write_version(tmp_path, "code", "v1", 1), probe=refuse)


def test_a_model_that_never_ends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"within 0\.01 s"):
        probe(task(write_version(tmp_path, "code", "v1", 1), limit=0.01))


@pytest.mark.parametrize(
    ("status", "said"),
    [(-11, "signal 11"), (3, "status 3"), (-9, "signal 9, .* ran out of memory")],
)
def test_a_model_that_kills_its_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, status, b"", b"first\nlast words\n\n")

    monkeypatch.setattr(probing.subprocess, "run", run)
    with pytest.raises(ImportRefused, match=f"crashed with {said}: last words"):
        probe(task(tmp_path))


def test_what_it_measured_stands_in_the_manifest(home: Path, tmp_path: Path) -> None:
    tasks: list[Task] = []

    def measure(given: Task) -> Measured:
        tasks.append(given)
        return Measured(load_seconds=1.5, peak_bytes=9, resident_bytes=8, onnxruntime="1.2.3")

    bring(home, write_version(tmp_path, "code", "v1", 1), probe=measure)
    assert "peak_bytes: 9" in (home / "models/code/v1/model.yaml").read_text()
    assert tasks[0].weights == "weights.onnx"
    assert not tasks[0].folder.exists()
