"""Archives that nobody should trust, and exports that would lose or spread something."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from manifest.tags import ModelTag
from models_import import archives, exporter
from models_import.errors import ImportRefused
from models_import.exporter import export
from models_import.store import ModelStore
from tests.builders import write_version
from tests.models_import.shop import bring, tree

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.usefixtures("quick_children")]
V1 = ModelTag("code", "v1")


class TestRefusedExports:
    def test_an_existing_file_is_never_replaced(
        self, version: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        (tmp_path / "mine.tar").write_text("mine")
        with pytest.raises(ImportRefused, match=r"mine\.tar exists"):
            export(store, V1, tmp_path / "mine.tar")
        assert (tmp_path / "mine.tar").read_text() == "mine"

    def test_nor_one_that_comes_meanwhile(
        self, version: Path, tmp_path: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(models: Path, tag: ModelTag, made: Path, scratch: Path) -> None:
            made.write_text("ours")
            (tmp_path / "mine.tar").write_text("mine")

        monkeypatch.setattr(exporter, "_export", write)
        with pytest.raises(ImportRefused, match=r"mine\.tar exists"):
            export(store, V1, tmp_path / "mine.tar")
        assert (tmp_path / "mine.tar").read_text() == "mine"

    def test_a_damaged_version_is_not_passed_on(
        self, version: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        (version / "weights.onnx").write_bytes(b"x" * 314)
        with pytest.raises(ImportRefused, match=r"weights\.onnx does not match"):
            export(store, V1, tmp_path / "out.tar")

    @pytest.mark.parametrize(
        ("target", "said"), [("out.rar", "must end with one of"), ("no/out.tar", "is not a folder")]
    )
    def test_a_target_that_cannot_be(
        self, version: Path, tmp_path: Path, store: ModelStore, target: str, said: str
    ) -> None:
        with pytest.raises(ImportRefused, match=said):
            export(store, V1, tmp_path / target)

    def test_a_version_is_never_matched_by_prefix(
        self, version: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        with pytest.raises(ImportRefused, match="code:v is not in"):
            export(store, ModelTag("code", "v"), tmp_path / "out.tar")


class TestBroken:
    """Archives that nobody should trust."""

    @pytest.fixture(autouse=True)
    def _nothing_comes_in_or_stays(self, home: Path, version: Path, tmp_path: Path) -> object:
        before = tree(home / "models")
        yield
        assert tree(home / "models") == before
        assert [left.name for left in (home / "staging").iterdir()] == ["import.lock"]
        assert not (tmp_path / "escaped").exists()

    def pack(self, tmp_path: Path, version: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
        path = tmp_path / "bad.tar"
        with tarfile.open(path, "w") as tar:
            for file in version.iterdir():
                info = tarfile.TarInfo(f"./{file.name}")
                data = file.read_bytes().replace(b"version: v1", b"version: v2")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            for info, data in members:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    @pytest.mark.parametrize("name", ["../escaped", "../../../../escaped", "golden/../../escaped"])
    def test_members_that_climb_out(self, home: Path, tmp_path: Path, version: Path, name: str) -> None:
        archive = self.pack(tmp_path, version, (tarfile.TarInfo(name), b"escaped"))
        with pytest.raises(ImportRefused):
            bring(home, archive)
        assert not list(tmp_path.rglob("escaped"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
    @pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../../../etc/passwd"])
    def test_links_that_lead_out(
        self, home: Path, tmp_path: Path, version: Path, kind: bytes, target: str
    ) -> None:
        info = tarfile.TarInfo("secret")
        info.type, info.linkname = kind, target
        with pytest.raises(ImportRefused):
            bring(home, self.pack(tmp_path, version, (info, b"")))

    def test_zip_members_that_climb_out(self, home: Path, tmp_path: Path, version: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            for file in version.iterdir():
                archive.writestr(file.name, file.read_bytes().replace(b"version: v1", b"version: v2"))
            archive.writestr("../escaped", b"escaped")
        with pytest.raises(ImportRefused):
            bring(home, tmp_path / "bad.zip")
        assert not list(tmp_path.rglob("escaped"))

    @pytest.mark.parametrize("name", ["not.bentomodel", "not.zip", "not.tar.gz", "weights.pt", "weights"])
    def test_files_that_are_no_archive(self, home: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ImportRefused, match="not an ONNX model"):
            bring(home, tmp_path / name)

    @pytest.mark.parametrize("kind", ["gztar", "xztar", "tar"])
    def test_a_packed_folder_that_bentoml_has_not_exported(
        self, home: Path, tmp_path: Path, kind: str
    ) -> None:
        folder = write_version(tmp_path, "code", "v7", 7)
        packed = shutil.make_archive(str(tmp_path / "packed"), kind, folder)
        with pytest.raises(ImportRefused, match=r"no model\.yaml at its top.*: unpack it"):
            bring(home, Path(packed))

    @pytest.mark.parametrize("kind", ["tar.gz", "bentomodel", "zip"])
    def test_one_that_would_fill_the_disk(
        self, home: Path, tmp_path: Path, version: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        copy = shutil.copytree(version, tmp_path / "copy")
        with (copy / "zeros").open("wb") as file:
            file.truncate(3_000_000)
        how = {"tar.gz": "gztar", "zip": "zip"}.get(kind, "xztar")
        bomb = Path(shutil.make_archive(str(tmp_path / "made"), how, copy)).rename(tmp_path / f"bomb.{kind}")
        monkeypatch.setattr(archives, "_SMALL_BYTES", 1_000_000)
        with pytest.raises(ImportRefused, match="at least 3 MB, allowed are 1 MB: if you trust"):
            bring(home, bomb)
        with pytest.raises(ImportRefused, match="at least 3 MB, allowed are 0 MB: remove versions"):
            bring(home, bomb, free_bytes=lambda: 11_000_000)

    def test_a_truncated_archive(self, home: Path, tmp_path: Path, store: ModelStore) -> None:
        archive = export(store, V1, tmp_path / "code.bentomodel")
        archive.write_bytes(archive.read_bytes()[:-400])
        with pytest.raises(ImportRefused, match="BentoML cannot unpack it"):
            bring(home, archive)

    def test_a_file_that_differs_from_the_manifest(self, home: Path, tmp_path: Path, version: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(version, copy)
        data = bytearray((copy / "weights.onnx").read_bytes())
        data[100] ^= 1
        (copy / "weights.onnx").write_bytes(data)
        archive = self.pack(tmp_path, copy)
        with pytest.raises(ImportRefused, match=r"damaged: weights\.onnx does not match"):
            bring(home, archive)
