"""Pictures in a folder: links, rights, and what else lies there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from adapters.picture_stores import open_pictures
from adapters.pictures.folder_pictures import FolderPictures
from lineage.errors import BadPicturePlace, PicturesUnavailable

PATH = "images/cam-1/2026-01-02/03-04-05_ab12.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def pictures(root: Path) -> FolderPictures:
    return FolderPictures(root)


@pytest.mark.parametrize("name", ["images", "images/cam-1", "images/cam-1/2026-01-02"])
def test_a_link_out_of_the_store_is_not_followed(
    root: Path, pictures: FolderPictures, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    (outside / PATH.removeprefix(name).strip("/")).parent.mkdir(parents=True)
    (outside / PATH.removeprefix(name).strip("/")).write_bytes(b"secret")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(outside)
    for call in (
        lambda: pictures.get(PATH),
        lambda: pictures.put(PATH, b"x", {}),
        lambda: pictures.replace(PATH, b"x"),
        lambda: pictures.delete([PATH]),
    ):
        with pytest.raises(BadPicturePlace):
            call()
    assert list(pictures.objects()) == []
    assert [file.read_bytes() for file in outside.rglob("*.jpg")] == [b"secret"]


def test_a_link_in_the_place_of_a_picture_is_not_read(
    root: Path, pictures: FolderPictures, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).symlink_to(tmp_path / "secret")
    for call in (lambda: pictures.get(PATH), lambda: pictures.put(PATH, b"secret", {})):
        with pytest.raises(PicturesUnavailable):
            call()
    assert list(pictures.objects()) == []


def test_folders_that_become_empty_are_removed(root: Path, pictures: FolderPictures) -> None:
    other = PATH.replace("cam-1", "cam-2")
    for path in (PATH, other):
        pictures.put(path, b"x", {})
    pictures.delete([PATH])
    assert sorted(path.name for path in (root / "images").iterdir()) == ["cam-2"]
    pictures.delete([other])
    assert sorted(path.name for path in root.iterdir()) == [".incoming"]


def test_no_file_is_left_beside_the_pictures(root: Path, pictures: FolderPictures) -> None:
    pictures.put(PATH, b"x", {})
    pictures.put(PATH, b"x", {})
    pictures.replace(PATH, b"y")
    assert [file for file in root.rglob("*") if file.is_file()] == [root / PATH]
    assert (root / PATH).stat().st_mode & 0o777 == 0o644
    assert (root / PATH).stat().st_nlink == 1


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PicturesUnavailable):
        open_pictures(tmp_path / "file" / "pictures")


def test_a_disk_that_is_not_mounted_is_not_written_beside(root: Path, pictures: FolderPictures) -> None:
    root.rename(root.with_name("mounted"))
    root.mkdir()
    with pytest.raises(PicturesUnavailable, match="mounted"):
        pictures.check()
    with pytest.raises(PicturesUnavailable):
        pictures.put(PATH, b"x", {})
    assert list(root.iterdir()) == []


def _calls_of(work: Callable[[], object]) -> list[str]:
    """What work asks the system for, of what makes it durable and seen."""
    calls: list[str] = []

    def see(_: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in (
            "write",
            "fsync",
            "link",
            "replace",
            "mkdir",
            "unlink",
        ):
            calls.append(function.__name__)

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_bytes_are_durable_before_their_name_and_the_name_before_it_is_said(pictures: FolderPictures) -> None:
    first = _calls_of(lambda: pictures.put(PATH, b"x", {}))
    # Each new folder is durable in the one above, before anything lies in it.
    assert first == ["write", "fsync", *(["mkdir", "fsync"] * 3), "link", "fsync", "unlink"]
    assert _calls_of(lambda: pictures.put(PATH, b"x", {})) == ["write", "fsync", "link", "fsync", "unlink"]
    assert _calls_of(lambda: pictures.replace(PATH, b"x")) == ["write", "fsync", "replace", "fsync", "unlink"]
