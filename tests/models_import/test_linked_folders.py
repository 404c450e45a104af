"""A folder that was named: its links are followed, and its name is the one it really has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models_import.candidates import Wanted, candidates
from models_import.errors import ImportRefused
from tests.builders import write_version
from tests.models_import.shop import bring, importer
from tests.models_import.sights import a_link_to_a_device, a_socket


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A version whose files are links, as hubs and DVC leave it."""
    blobs = write_version(tmp_path, "cache", "blobs", 1)
    (blobs / "pictures").mkdir()
    (blobs / "pictures/a.png").touch()
    folder = tmp_path / "code/v1"
    folder.mkdir(parents=True)
    for name in ("weights.onnx", "config.json"):
        (folder / name).symlink_to(f"../../cache/blobs/{name}")
    (folder / "golden").symlink_to(blobs / "pictures")
    return folder


def test_what_its_links_lead_to_is_copied(home: Path, snapshot: Path) -> None:
    assert str(bring(home, snapshot).tag) == "code:v1"
    stored = home / "models/code/v1"
    assert (stored / "golden/a.png").is_file()
    assert not any(path.is_symlink() for path in stored.rglob("*"))


def test_in_a_tree_too(home: Path, snapshot: Path) -> None:
    (found,) = candidates(snapshot.parent.parent / "code", Wanted())
    assert str(importer(home).run(found).tag) == "code:v1"


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.symlink_to("/nowhere/at/all"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to(".git/annex/objects/0"),
        a_link_to_a_device,
        lambda path: (os.mkfifo(path.parent.parent / "pipe"), path.symlink_to("../pipe")),
        lambda path: (a_socket(path.parent.parent / "socket"), path.symlink_to("../socket")),
    ],
)
def test_a_link_that_leads_to_no_file_is_refused(
    home: Path, snapshot: Path, put: Callable[[Path], object]
) -> None:
    put(snapshot / "odd")
    with pytest.raises(ImportRefused, match=r"/odd.* is a link to "):
        bring(home, snapshot)


@pytest.mark.parametrize("above", [".", "..", "../../code"])
def test_a_link_to_a_folder_above_it_is_refused(home: Path, snapshot: Path, above: str) -> None:
    (snapshot / "odd").symlink_to(above)
    with pytest.raises(ImportRefused, match="a folder that contains it"):
        bring(home, snapshot)


def test_what_is_hidden_may_lead_anywhere(home: Path, snapshot: Path) -> None:
    (snapshot / ".venv").symlink_to("/nowhere")
    bring(home, snapshot)


@pytest.mark.parametrize(
    ("where", "typed"),
    [
        ("v1", "../v2"),
        ("v2", "."),
        ("v2", "./"),
        ("v2/sub", ".."),
        (".", "v2/"),
        (".", "./v1/../v2"),
        (".", "current"),
        ("v1", "../current/."),
    ],
)
def test_a_folder_is_called_what_it_is_called_where_it_lies(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, typed: str
) -> None:
    for version in ("v1", "v2"):
        write_version(tmp_path, "code", version, 1)
    (tmp_path / "code/v2/sub").mkdir()
    (tmp_path / "code/current").symlink_to("v2")
    monkeypatch.chdir(tmp_path / "code" / where)
    assert str(bring(home, Path(typed)).tag) == "code:v2"


def test_a_link_to_another_of_a_tree_is_no_version(tmp_path: Path) -> None:
    write_version(tmp_path, "code", "v1", 1)
    (tmp_path / "code/current").symlink_to("v1")
    (tmp_path / "code/v2").symlink_to(write_version(tmp_path / "other", "store", "0f3c", 2))
    found = candidates(tmp_path / "code", Wanted())
    assert [each.path.name for each in found] == ["v1", "v2"]


def test_a_linked_archive_or_graph_keeps_its_name(home: Path, tmp_path: Path) -> None:
    folder = write_version(tmp_path, "code", "v1", 1)
    (folder / "weights.onnx").rename(tmp_path / "5d41")
    (folder / "run7.onnx").symlink_to(tmp_path / "5d41")
    assert str(bring(home, folder / "run7.onnx", Wanted("m", "1", folder / "config.json")).tag) == "m:v1"


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(ImportRefused, match="neither a file nor a folder"):
        candidates(tmp_path / "x.onnx", Wanted())
