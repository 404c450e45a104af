"""The guide to a new team, followed literally on a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import obstore
import pytest

from tests.e2e.harness import BIN, ROOT, environment, free_port
from tests.e2e.test_infer_json import BUCKET, picture
from tests.e2e.waiting import until
from tests.support.s3_server import S3Server, s3_server

__all__ = ["s3_server"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
GUIDE = (ROOT / "docs" / "guides" / "new-team.md").read_text()


def _block(kind: str, within: str) -> str:
    """The first block of that kind that has these words."""
    return next(text for text in re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL) if within in text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that git knows, as a repository of their own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    names = [name for name in listed.decode().split("\0") if name]
    if not names:
        pytest.skip("this is no checkout: its files are not known")
    for name in names:
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, target)
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "c"]):
        subprocess.run(["git", *words], cwd=tmp_path / "copy", check=True, capture_output=True)
    return tmp_path / "copy"


def test_a_new_team_answers_by_the_guide_alone(copy: Path, s3_server: S3Server, tmp_path: Path) -> None:
    obstore.put(s3_server.bucket(BUCKET), "picture.jpg", picture(5, defect=True))
    (copy / "adapters" / "wheat_runner.py").write_text(_block("python", "class WheatRunner"))
    shutil.copy(ROOT / "weights" / "fruit_best.onnx", copy / "my_export.onnx")
    port = free_port()
    serving = _block("bash", "bentoml serve").replace("8000", str(port))
    commands = "\n".join([_block("bash", "cp my_export"), serving])
    for name, value in s3_server.variables.items():
        commands = re.sub(rf"{name}=\S+", f"{name}={value}", commands)
    home = tmp_path / "home"
    variables = environment(home, home, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=str(copy))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-ec", commands], cwd=copy, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def is_ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            try:
                return httpx.get(f"{url}/readyz", timeout=60).status_code == 200
            except httpx.TransportError:
                return False

        until(is_ready, "the team's service is ready", seconds=120)
        assert httpx.get(f"{url}/healthz", timeout=60).json() == {"ok": True, "team": "wheat"}
        body = re.search(r"-d '(\{.*?\})'", GUIDE)
        assert body is not None
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{url}/infer_json", content=body[1], headers=headers, timeout=30).json()
        assert (answer["team"], answer["model"], answer["label"]) == ("wheat", "wheat", "rust")
        assert answer["model_version"].startswith(f"{time.gmtime().tm_year}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    asked = ["git", "status", "--porcelain"]
    status = subprocess.run(asked, cwd=copy, capture_output=True, text=True, check=True)
    assert sorted(line[3:] for line in status.stdout.splitlines()) == [
        "adapters/wheat_runner.py",
        "my_export.onnx",
        "weights/wheat_best.onnx",
    ]
