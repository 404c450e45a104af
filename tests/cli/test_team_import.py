"""`import --team`: weights of teams become versions, each once, and again when they change."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import write_version
from tests.cli.conftest import Okawari
from tests.e2e.harness import ROOT, environment
from tests.e2e.waiting import until

WEIGHTS = ROOT / "weights" / "fruit_best.onnx"
CODE = """
class Corn:
    def __init__(self, **_): pass
    def run(self, data, **_):
        return {"label": "ripe"}
"""


@pytest.fixture
def root(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A team root."""
    for name in ("weights", "adapters"):
        (tmp_path / "root" / name).mkdir(parents=True)
    monkeypatch.setenv("OKAWARI_TEAM_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def _versions(home: Path, model: str) -> list[str]:
    return sorted(path.name for path in (home / "models" / model).iterdir() if path.is_dir())


@pytest.mark.process
def test_the_weights_of_a_team_come_in_once_and_again_when_they_change(
    okawari: Okawari, root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "FRUIT")
    weights = root / "weights" / "fruit_best.onnx"
    shutil.copy(WEIGHTS, weights)
    assert okawari("import", "--team").stdout.startswith("imported fruit:20")
    assert "nothing changed" in okawari("import", "--team").stderr
    (version,) = _versions(home, "fruit")
    config = json.loads((home / "models" / "fruit" / version / "config.json").read_text())
    assert config["output"]["parameters"] == {"adapter": "fruit_defect_runner:FruitRunner"}
    weights.write_bytes(WEIGHTS.read_bytes() + b"\x42\x00")  # the name of the domain, empty
    assert okawari("import", "--team").stdout.startswith("imported fruit:20")
    assert len(_versions(home, "fruit")) == 2


@pytest.mark.process
def test_without_a_name_the_weights_of_all_teams_come_in(okawari: Okawari, root: Path, home: Path) -> None:
    (root / "adapters" / "corn_runner.py").write_text(CODE)
    shutil.copy(WEIGHTS, root / "weights" / "corn_best.onnx")
    version = write_version(root.parent / "tree", "soil", "1", 1)
    shutil.copy(version / "weights.onnx", root / "weights" / "soil_best.onnx")
    shutil.copy(version / "config.json", root / "weights" / "soil_best.json")
    said = okawari("import", "--team").stdout.splitlines()
    assert [line.split(":")[0] for line in said] == ["imported corn", "imported soil"]


@pytest.mark.process
def test_one_bad_name_keeps_no_other_team_from_coming_in(okawari: Okawari, root: Path, home: Path) -> None:
    (root / "adapters" / "corn_runner.py").write_text(CODE)
    for name in ("corn", "wheat-v2.1"):
        shutil.copy(WEIGHTS, root / "weights" / f"{name}_best.onnx")
    done = okawari("import", "--team", exit_code=1)
    assert done.stdout.startswith("imported corn:20")
    assert "wheat-v2.1_best.onnx: unknown TEAM" in done.stderr


@pytest.mark.parametrize(
    ("file", "said"),
    [(None, "there are no weights at"), ("fruit_best.pt", "export it to ONNX"), ("fruit_best.ts", "ONNX")],
)
def test_what_cannot_be_served_is_refused_with_advice(
    okawari: Okawari, root: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, said: str
) -> None:
    monkeypatch.setenv("TEAM", "fruit")
    if file is not None:
        (root / "weights" / file).write_bytes(b"\x80\x02}q\x00.")
    done = okawari("import", "--team", exit_code=1)
    assert said in done.stderr


@pytest.mark.process
@pytest.mark.timeout(120)
def test_who_stays_imports_whatever_changes_until_a_signal(root: Path, home: Path, tmp_path: Path) -> None:
    (root / "adapters" / "corn_runner.py").write_text(CODE)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "import", "--team", "--stay"],
            cwd=ROOT,
            env=environment(home, home, OKAWARI_TEAM_ROOT=str(root), TEAM="corn"),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "waiting" in (tmp_path / "log").read_text(), "it waits for weights")
        shutil.copy(WEIGHTS, root / "weights" / "corn_best.onnx")
        until(lambda: (home / "models" / "corn").exists() and _versions(home, "corn"), "they are imported")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
