"""What another user sees, and may do, of a store that is not his."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Another user may not be able to read this Python's modules: they must be there before he comes.
import runners.families.index  # noqa: F401
from manifest.tags import ModelTag
from models_import.candidates import Wanted
from models_import.errors import ImportRefused
from models_import.store import ModelStore
from tests.models_import.shop import bring, stock

NOBODY = 65534

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may walk to."""
    folder = Path(tempfile.mkdtemp(prefix="okawari-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns in a process of another user."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)

    def child() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        theirs.send(work(*arguments))

    process = fork.Process(target=child)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def look(models: Path) -> tuple[str | None, str]:
    store = ModelStore(models)
    sights = store.look()
    assert sights is not None
    settled = store.settle(ModelTag("code", "v1"))
    return sights["code"].versions["v1"].reason, type(settled).__name__


def try_import(home: Path, path: Path) -> str:
    try:
        return str(bring(home, path, Wanted(version="v2")))
    except ImportRefused as refused:
        return str(refused)


def test_a_version_of_mode_0700_is_unservable_and_its_command_mends_it(place: Path) -> None:
    folder = stock(place / "home", place, "code", "v1")
    folder.chmod(0o700)
    reason, settled = as_nobody(look, place / "home/models")
    assert reason == f"not readable by this user: run `chmod -R a+rX {folder}`"
    assert settled == "Invalid"
    subprocess.run(reason.split("`")[1].split(), check=True)
    assert as_nobody(look, place / "home/models") == (None, "Artifact")


def test_weights_of_mode_0600_are_unservable(place: Path) -> None:
    folder = stock(place / "home", place, "code", "v1")
    (folder / "weights.onnx").chmod(0o600)
    reason, settled = as_nobody(look, place / "home/models")
    assert "chmod -R a+rX" in reason
    assert settled == "Invalid"


def test_a_model_of_mode_0700_is_listed_with_the_command(place: Path) -> None:
    folder = stock(place / "home", place, "code", "v1")
    folder.parent.chmod(0o700)
    sight = as_nobody(lambda: (ModelStore(place / "home/models").look() or {})["code"].pointer)
    assert f"`chmod -R a+rX {folder.parent}`" in sight


def test_a_store_of_mode_0700_is_away(place: Path) -> None:
    stock(place / "home", place, "code", "v1")
    (place / "home/models").chmod(0o700)
    assert as_nobody(lambda: ModelStore(place / "home/models").look()) is None


def test_an_import_with_a_strict_umask_can_be_read_by_all(place: Path) -> None:
    (place / "home").mkdir()
    before = os.umask(0o077)
    try:
        folder = stock(place / "home", place, "code", "v1")
    finally:
        os.umask(before)
    assert as_nobody(look, place / "home/models") == (None, "Artifact")
    modes = {oct(path.stat().st_mode & 0o777) for path in folder.parent.rglob("*") if path.is_file()}
    assert modes == {"0o644"}
    assert oct(folder.stat().st_mode & 0o777) == "0o755"


def test_a_store_that_may_not_be_written_is_read_and_refuses_imports(place: Path) -> None:
    stock(place / "home", place, "code", "v1")
    assert as_nobody(look, place / "home/models") == (None, "Artifact")
    told = as_nobody(try_import, place / "home", place / "made/code/v1")
    assert "Permission denied" in told
    assert str(place / "home/staging") in told
