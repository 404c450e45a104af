"""The same round trip as in `test_archives`, with the child processes that users get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manifest.tags import ModelTag
from models_import import archives
from models_import.archives import Bound, unpack
from models_import.errors import ImportRefused
from models_import.exporter import export
from models_import.store import ModelStore
from models_import.subprocesses import child_environment, last_words
from tests.models_import.shop import bring, day, stock


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_out_and_in_again(
    home: Path, tmp_path: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Children must find our modules wherever the command was typed.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    stock(home, tmp_path, "code", "v1", 7, created=day(1))
    archive = export(store, ModelTag("code", "v1"), None)
    assert archive == tmp_path / "code-v1.bentomodel"
    assert bring(home, archive).outcome == "unchanged"
    archive.write_bytes(b"no archive")
    with pytest.raises(ImportRefused, match="BentoML cannot unpack it"):
        bring(home, archive)


def test_children_send_no_usage_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK", raising=False)
    assert child_environment()["BENTOML_DO_NOT_TRACK"] == "True"


@pytest.mark.parametrize(
    ("said", "last"), [(b"", "it ended without output"), (b"a\nb\n \n", "b"), (b"\xff", "\ufffd")]
)
def test_the_last_words_of_a_child(said: bytes, last: str) -> None:
    assert last_words(said) == last


@pytest.mark.process
def test_a_child_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archives, "LIMIT", 0.001)
    (tmp_path / "code.tar").touch()
    with pytest.raises(ImportRefused, match=r"it was not unpacked within 0\.001 s"):
        unpack(tmp_path / "code.tar", tmp_path, Bound(1, ""), "tar")


@pytest.mark.process
def test_no_file_of_the_child_that_unpacks_grows_above_the_limit(tmp_path: Path) -> None:
    script = "import sys; from models_import.archives import _limit_files as limit; limit(1000)\n"
    script += "open(sys.argv[1], 'wb', 0).write(bytes(999))\n"
    script += "open(sys.argv[2], 'wb', 0).writelines([bytes(1000)] * 2)"
    command = [sys.executable, "-c", script, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, env=child_environment(), capture_output=True, check=False)
    # Not its last words: what else writes files at its end, as coverage does, fails after it.
    assert b"File too large" in done.stderr
    assert [(tmp_path / name).stat().st_size for name in ("small", "large")] == [999, 1000]
