"""Archives: out through us or BentoML, in through us or BentoML, always the same version."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from hotswap.repository import Artifact, Invalid
from manifest.tags import ModelTag
from models_import.candidates import Wanted
from models_import.errors import ImportRefused
from models_import.exporter import export
from models_import.model_yaml import read
from models_import.store import ModelStore
from tests.models_import.bentoml_server import BentoML
from tests.models_import.shop import bring, day, tree

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.usefixtures("quick_children")]
V1 = ModelTag("code", "v1")
KINDS = ["bentomodel", "tar", "tar.gz", "tar.xz", "tar.bz2", "zip"]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another home, empty yet."""
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


def digest(store: ModelStore) -> str:
    settled = store.settle(V1)
    assert isinstance(settled, Artifact)
    return settled.digest


class TestBentoML:
    """BentoML's own commands take our versions for its own."""

    def test_it_lists_gets_and_deletes_them(self, version: Path, home: Path, bentoml: BentoML) -> None:
        assert "code:v1" in bentoml(home, "models", "list")
        got = bentoml(home, "models", "get", "code:latest")
        assert "version: v1" in got
        assert "creation_time: '2026-01-02T00:00:00+00:00'" in got
        bentoml(home, "models", "delete", "code:v1", "--yes")
        assert not (home / "models/code").exists()

    @pytest.mark.parametrize("kind", KINDS)
    def test_its_export_and_import_keep_the_manifest(
        self, version: Path, other: Path, store: ModelStore, bentoml: BentoML, kind: str
    ) -> None:
        archive = other / f"code.{kind}"
        bentoml(store.path.parent, "models", "export", "code:v1", archive)
        bentoml(other, "models", "import", archive)
        there = ModelStore(other / "models")
        settled = there.settle(V1)
        assert isinstance(settled, Artifact)
        assert (settled.digest, settled.created) == (digest(store), day(1))
        sights = there.look()
        assert sights is not None
        assert sights["code"].latest == "v1"


class TestOurs:
    """Our import takes what BentoML exports, and our export what BentoML imports."""

    @pytest.mark.parametrize("kind", [*KINDS, "tgz", "txz"])
    def test_every_kind_of_archive_keeps_digest_and_time(
        self, version: Path, other: Path, store: ModelStore, bentoml: BentoML, kind: str
    ) -> None:
        archive = other / f"code.{kind.replace('tgz', 'tar.gz').replace('txz', 'tar.xz')}"
        bentoml(store.path.parent, "models", "export", "code:v1", archive)
        archive = archive.rename(other / f"renamed.{kind}")
        done = bring(other, archive)
        assert (done.outcome, done.digest) == ("imported", digest(store))
        assert read(other / "models/code/v1").created == day(1)
        assert [left.name for left in (other / "staging").iterdir()] == ["import.lock"]

    def test_an_exported_folder_keeps_them_too(
        self, version: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        shutil.copytree(version, tmp_path / "anything")
        assert bring(tmp_path / "other", tmp_path / "anything").digest == digest(store)
        assert read(tmp_path / "other/models/code/v1").created == day(1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_our_export_is_one_that_bentoml_imports(
        self, version: Path, other: Path, store: ModelStore, bentoml: BentoML, kind: str
    ) -> None:
        archive = export(store, V1, other / f"out.{kind}")
        bentoml(other, "models", "import", archive)
        assert digest(ModelStore(other / "models")) == digest(store)

    def test_exporting_changes_nothing_in_the_home(
        self, version: Path, home: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        before = tree(home)
        (tmp_path / "out").mkdir()
        made = export(store, V1, tmp_path / "out")
        assert made == tmp_path / "out/code-v1.bentomodel"
        assert [path.name for path in (tmp_path / "out").iterdir()] == [made.name]
        assert tree(home) == before

    def test_an_archive_imported_twice_is_unchanged(
        self, version: Path, home: Path, tmp_path: Path, store: ModelStore
    ) -> None:
        archive = export(store, V1, tmp_path / "code.tar")
        assert bring(home, archive).outcome == "unchanged"

    def test_name_and_version_may_be_others(
        self, version: Path, home: Path, tmp_path: Path, store: ModelStore, bentoml: BentoML
    ) -> None:
        archive = export(store, V1, tmp_path / "code.tar")
        done = bring(home, archive, Wanted(name="again", version="2"))
        assert (str(done.tag), done.digest) == ("again:v2", digest(store))
        assert "version: v2" in bentoml(home, "models", "get", "again:v2")


class TestForeign:
    """Archives of models that BentoML made without us."""

    @pytest.fixture
    def archive(self, tmp_path: Path, version: Path) -> Path:
        """A model with labels and metadata of its own, and no config.json."""
        folder = tmp_path / "foreign"
        folder.mkdir()
        shutil.copy(version / "weights.onnx", folder / "saved_model.onnx")
        (folder / "model.yaml").write_text(
            "name: theirs\nversion: abcd1234\nmodule: bentoml.onnx\nlabels: {team: vision}\noptions: {}\n"
            "metadata: {accuracy: 0.5}\ncontext: {framework_name: onnx, framework_versions: {onnx: 1.17.0}, "
            "bentoml_version: 1.4.0, python_version: 3.11.7}\nsignatures: {run: {batchable: true}}\n"
            "api_version: v2\ncreation_time: '2020-05-05T05:05:05.000001+00:00'\n"
        )
        with tarfile.open(tmp_path / "theirs.tar", "w") as tar:
            tar.add(folder, ".")
        return tmp_path / "theirs.tar"

    def test_without_config_it_is_refused(self, archive: Path, home: Path) -> None:
        with pytest.raises(ImportRefused, match=r"no config\.json, and preprocessing is never guessed"):
            bring(home, archive)

    def test_with_one_it_comes_in_and_keeps_what_it_says(
        self, archive: Path, home: Path, version: Path, store: ModelStore, bentoml: BentoML
    ) -> None:
        done = bring(home, archive, Wanted(config=version / "config.json"))
        assert str(done.tag) == "theirs:abcd1234"
        document = read(home / "models/theirs/abcd1234").document
        assert document["labels"] == {"team": "vision"}
        assert document["metadata"]["accuracy"] == 0.5
        assert document["creation_time"] == "2020-05-05T05:05:05.000001+00:00"
        assert isinstance(store.settle(done.tag), Artifact)
        assert "team: vision" in bentoml(home, "models", "get", "theirs:abcd1234")

    def test_imported_by_bentoml_its_reason_names_a_command_that_works(
        self, archive: Path, home: Path, version: Path, store: ModelStore, bentoml: BentoML
    ) -> None:
        bentoml(home, "models", "import", archive)
        refused = store.settle(ModelTag("theirs", "abcd1234"))
        assert isinstance(refused, Invalid)
        folder = home / "models/theirs/abcd1234"
        assert f"`okawari import {folder} --config config.json --version NEW`" in refused.reason
        done = bring(home, folder, Wanted(config=version / "config.json", version="new"))
        assert isinstance(store.settle(done.tag), Artifact)
