"""How large an archive becomes, before anything of it is written."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from models_import.archives import TooLarge, check_unpacked


def pack(path: Path, *members: tuple[str, int | str], mode: str = "w") -> str:
    """A tar file; of each member its size, or where it leads to."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, str):
                info.type = tarfile.LNKTYPE if what.startswith("hard:") else tarfile.SYMTYPE
                info.linkname = what.removeprefix("hard:")
                tar.addfile(info)
            else:
                info.size = what
                tar.addfile(info, io.BytesIO(bytes(what)))
    return str(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_format_tells(tmp_path: Path, mode: str) -> None:
    path = pack(tmp_path / "any", ("a", 600_000), ("b", 400_000), mode=mode)
    check_unpacked(path, "", 1_000_000)
    with pytest.raises(TooLarge, match="at least 1 MB, allowed are 0 MB"):
        check_unpacked(path, "", 999_999)


def test_a_zip_tells_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
    check_unpacked(str(tmp_path / "a.zip"), "zip", 1_000_000)
    with pytest.raises(TooLarge):
        check_unpacked(str(tmp_path / "a.zip"), "zip", 999_999)


@pytest.mark.parametrize("link", ["a", "./a", "../d/a", "hard:d/a", "nowhere", "l0"])
def test_a_link_counts_as_what_it_leads_to(tmp_path: Path, link: str) -> None:
    links = [(f"d/l{number}", link) for number in range(9)]
    path = pack(tmp_path / "a.tar", ("d/a", 100_000), *links)
    check_unpacked(path, "", 1_000_000)
    with pytest.raises(TooLarge):
        check_unpacked(path, "", 999_999)


@pytest.mark.slow
def test_very_many_files_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar.gz", *[(f"{number}", 0) for number in range(10_001)], mode="w:gz")
    with pytest.raises(TooLarge, match="more than 10000 files"):
        check_unpacked(path, "", 1_000_000)


def test_it_reads_no_further_than_it_must(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", ("a", 600_000), ("b", 600_000), ("c", 600_000))
    with Path(path).open("rb+") as file:
        file.truncate(700_000)
    with pytest.raises(TooLarge):
        check_unpacked(path, "", 1_000_000)
