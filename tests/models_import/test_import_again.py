"""Versions one after the other: which is the latest, and that none ever changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_import.candidates import Wanted
from models_import.errors import ImportRefused
from models_import.model_yaml import read
from tests.builders import write_version
from tests.models_import.shop import bring, day, latest, stock, tree


class TestCreated:
    """`latest` means what BentoML says: the newest creation time."""

    def test_a_config_may_state_it(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", created=day(3))
        assert read(home / "models/code/v1").created == day(3)

    def test_else_it_is_the_time_of_import(self, home: Path, tmp_path: Path) -> None:
        bring(home, write_version(tmp_path, "code", "v1", 1), now=lambda: day(4))
        assert read(home / "models/code/v1").created == day(4)

    def test_importing_an_older_one_leaves_latest_and_says_so(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v2", created=day(2))
        done = bring(home, write_version(tmp_path, "code", "v1", 1, created=day(1)))
        assert (done.outcome, done.latest, latest(home)) == ("imported", "v2", "v2")

    def test_of_two_made_at_once_the_later_import_is_latest(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v2", created=day(1))
        stock(home, tmp_path, "code", "v1", created=day(1))
        assert latest(home) == "v1"

    @pytest.mark.parametrize("text", ["", "v9", None])
    def test_an_import_mends_a_pointer_that_names_nothing(
        self, home: Path, tmp_path: Path, text: str | None
    ) -> None:
        stock(home, tmp_path, "code", "v2", created=day(2))
        pointer = home / "models/code/latest"
        pointer.unlink() if text is None else pointer.write_text(text)
        stock(home, tmp_path, "code", "v1", created=day(1))
        assert latest(home) == "v2"


class TestImmutable:
    """A version never changes."""

    def test_the_same_tag_with_other_files_is_refused(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", 1)
        before = tree(home / "models")
        with pytest.raises(ImportRefused, match="another version with --version"):
            bring(home, write_version(tmp_path, "code", "v1", 2))
        assert tree(home / "models") == before

    def test_the_same_tag_with_the_same_files_is_unchanged(self, home: Path, tmp_path: Path) -> None:
        stock(home, tmp_path, "code", "v1", 1)
        before = tree(home / "models")
        assert bring(home, tmp_path / "made/code/v1").outcome == "unchanged"
        assert tree(home / "models") == before

    def test_the_same_files_by_another_tag_are_another_version(self, home: Path, tmp_path: Path) -> None:
        first = bring(home, write_version(tmp_path, "code", "v1", 1, created=day(1)))
        second = bring(home, tmp_path / "code/v1", Wanted(version="v2"))
        assert (second.outcome, second.digest) == ("imported", first.digest)
        assert (home / "models/code/v2").is_dir()

    def test_a_damaged_one_is_not_called_unchanged(self, home: Path, tmp_path: Path) -> None:
        folder = stock(home, tmp_path, "code", "v1", 1)
        (folder / "weights.onnx").write_bytes(b"damaged")
        with pytest.raises(ImportRefused, match="damaged: run `okawari remove code v1`"):
            bring(home, tmp_path / "made/code/v1")

    def test_a_half_copied_one_is_named(self, home: Path, tmp_path: Path) -> None:
        (home / "models/code/v1").mkdir(parents=True)
        with pytest.raises(ImportRefused, match=r"incomplete.*`okawari remove code v1`"):
            bring(home, write_version(tmp_path, "code", "v1", 1))
