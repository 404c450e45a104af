"""Golden pictures that are held for a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.errors import StateUnavailable
from manifest.version_manifest import ExpectedObject
from registry.golden_files import GoldenFiles

CAT = ExpectedObject(label="cat", bbox=(0.1, 0.1, 0.5, 0.5), score=0.9)


def test_a_picture_is_held_with_what_is_expected(tmp_path: Path) -> None:
    golden = GoldenFiles(tmp_path)
    assert golden.held("m") == []
    file = golden.add("m", "Cat.JPG", b"picture", [CAT])
    ((picture, path),) = GoldenFiles(tmp_path).held("m")
    assert (picture.file, picture.expected, path.read_bytes()) == (file, [CAT], b"picture")
    assert golden.held("other") == []


def test_an_equal_picture_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    golden = GoldenFiles(tmp_path)
    golden.add("m", "a.jpg", b"picture", [CAT])
    golden.add("m", "b.jpg", b"picture", [])
    ((picture, _),) = golden.held("m")
    assert picture.expected == []


def test_a_picture_is_held_no_longer_when_it_is_removed(tmp_path: Path) -> None:
    golden = GoldenFiles(tmp_path)
    file = golden.add("m", "a.jpg", b"picture", [CAT])
    assert golden.remove("m", file)
    assert not golden.remove("m", file)
    assert golden.held("m") == []


def test_a_damaged_document_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "golden" / "m"
    folder.mkdir(parents=True)
    (folder / "golden.json").write_text("{")
    with pytest.raises(StateUnavailable, match="damaged"):
        GoldenFiles(tmp_path).held("m")
