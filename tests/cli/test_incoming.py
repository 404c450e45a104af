"""`import`, `get`, `init`, `export`, `remove`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import models_import.demo_models
from cli.main import main
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from tests.builders import config_document, write_version
from tests.cli.conftest import Okawari, Service
from tests.data import need_data
from tests.models_import.bentoml_server import BentoML
from tests.models_import.shop import day


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write_version(tmp_path / "tree", "code", str(number), number, created=day(number))
    return tmp_path / "tree"


class TestImport:
    def test_a_tree_and_again(self, okawari: Okawari, tree: Path) -> None:
        lines = okawari("import", tree).stdout.splitlines()
        assert [line.split()[:2] for line in lines] == [
            ["imported", "code:v1"],
            ["imported", "code:v2"],
            ["imported", "code:v10"],
        ]
        lines = okawari("import", tree).stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["unchanged"] * 3

    def test_one_version_named_twice_is_refused(self, okawari: Okawari, tree: Path) -> None:
        okawari("import", tree / "code/1")
        refused = okawari("import", tree / "code/1", exit_code=1)
        assert refused.stderr == (
            "okawari: code:v1 is already in the store with the same files; nothing changed\n"
        )

    def test_one_refused_does_not_stop_the_others(self, okawari: Okawari, tree: Path) -> None:
        (tree / "code/2/config.json").write_text("{}")
        done = okawari("import", tree, exit_code=1)
        assert [line.split()[1] for line in done.stdout.splitlines()] == ["code:v1", "code:v10"]
        assert done.stderr.startswith("okawari: ")
        assert "code/2" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_several_paths(self, okawari: Okawari, tree: Path) -> None:
        done = okawari("import", tree / "code/1", tree / "code/10")
        assert len(done.stdout.splitlines()) == 2

    def test_an_older_one_says_what_latest_is(self, okawari: Okawari, tree: Path) -> None:
        assert "it is latest" in okawari("import", tree / "code/2").stdout
        assert "latest is v2, which was created later" in okawari("import", tree / "code/1").stdout

    def test_folders_of_a_tree_without_a_version_are_named(self, okawari: Okawari, tree: Path) -> None:
        (tree / "torch/v1").mkdir(parents=True)
        (tree / "torch/v1/best.pt").write_bytes(b"x")
        (tree / "code/nothing").mkdir()
        (tree / "code/.hidden").mkdir()
        for number in range(9):
            (tree / f"more{number}").mkdir()
        done = okawari("import", tree)
        assert len(done.stdout.splitlines()) == 3
        (line,) = done.stderr.splitlines()
        assert [name in line for name in ("code/nothing", "more0", "more8", "hidden", "code/1")] == [
            *(True, True, False, False, False)
        ]
        assert line.endswith("and 6 more")

    def test_a_stray_file_does_not_hide_the_versions_below_it(self, okawari: Okawari, tree: Path) -> None:
        (tree / "lone.onnx").write_bytes((tree / "code/1/weights.onnx").read_bytes())
        refused = okawari("import", tree, exit_code=1)
        assert "code/1" in refused.stderr
        assert "move the .onnx elsewhere" in refused.stderr
        (tree / "lone.onnx").unlink()
        okawari("import", tree)

    def test_an_empty_tree_is_no_error(self, okawari: Okawari, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        done = okawari("import", tmp_path / "empty")
        assert (done.stdout, "contains no version" in done.stderr) == ("", True)

    def test_one_onnx_file(self, okawari: Okawari, tree: Path, tmp_path: Path) -> None:
        weights, config = tree / "code/1/weights.onnx", tmp_path / "c.json"
        config.write_text(json.dumps(config_document()))
        okawari("import", weights, exit_code=2)
        okawari("import", weights, "--config", config, "--name", "code", exit_code=2)
        done = okawari("import", weights, "--config", config, "--name", "code", "--version", 5)
        assert "imported code:v5" in done.stdout

    def test_a_name_in_capitals_is_a_model_too(self, okawari: Okawari, tree: Path) -> None:
        weights = (tree / "code/1/weights.onnx").rename(tree / "DETECTOR.ONNX")
        okawari("import", weights, exit_code=2)
        config = tree / "code/1/config.json"
        done = okawari("import", weights, "--config", config, "--name", "code", "--version", 5)
        assert "imported code:v5" in done.stdout

    def test_a_tilde_that_the_shell_has_left(
        self, okawari: Okawari, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tree))
        assert "imported code:v1" in okawari("import", "~/code/1").stdout

    @pytest.mark.parametrize("typed", [".", "../2", "../2/"])
    def test_a_path_from_here(
        self, okawari: Okawari, tree: Path, monkeypatch: pytest.MonkeyPatch, typed: str
    ) -> None:
        monkeypatch.chdir(tree / "code/2")
        assert "imported code:v2" in okawari("import", typed).stdout

    def test_a_folder_with_another_model_is_refused(self, okawari: Okawari, tmp_path: Path) -> None:
        (tmp_path / "det").mkdir()
        (tmp_path / "det/best.pt").touch()
        assert "PyTorch" in okawari("import", tmp_path / "det", exit_code=1).stderr

    def test_what_is_not_there_is_usage(self, okawari: Okawari) -> None:
        okawari("import", "nowhere", exit_code=2)

    def test_a_name_for_a_whole_tree_is_refused(self, okawari: Okawari, tree: Path) -> None:
        assert "need a single version" in okawari("import", tree, "--name", "x", exit_code=1).stderr


class TestGet:
    @pytest.fixture
    def mirror(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A catalogue of our own making, and a folder with its weights."""
        import hashlib

        from models_import import catalogue

        folder = write_version(tmp_path / "mirror", "any", "thing", 4)
        data = (folder / "weights.onnx").read_bytes()
        about = {
            "name": "code",
            "description": "a model for tests",
            "url": "https://models.example/code.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "licence": "Apache-2.0",
            "source": "https://models.example/",
            "config": "fastestdet-v1.json",
            "quality": {"measure": "AP50", "value": 1.0, "how": "on drawings"},
        }
        models = [{**about, "version": f"v{n}", "created": day(n).isoformat()} for n in (1, 2)]
        index = {"format": 1, "about": "", "models": models}
        entries = catalogue._Index.model_validate_json(json.dumps(index)).models
        monkeypatch.setattr(catalogue, "entries", lambda: entries)
        return tmp_path / "mirror"

    def test_from_a_mirror(self, okawari: Okawari, home: Path, mirror: Path) -> None:
        done = okawari("get", "code", "--mirror", mirror)
        assert "imported code:v2" in done.stdout
        assert "licence Apache-2.0" in done.stderr
        assert "latest is v2" in okawari("get", "code", "--version", "1", "--mirror", mirror).stdout

    def test_twice_is_refused_without_fetching(self, okawari: Okawari, mirror: Path) -> None:
        okawari("get", "code", "--mirror", mirror)
        shutil.rmtree(mirror / "any")
        assert "already" in okawari("get", "code", "--mirror", mirror, exit_code=1).stderr

    def test_unknown_ones_are_refused(self, okawari: Okawari, mirror: Path) -> None:
        assert "it has code" in okawari("get", "nope", "--mirror", mirror, exit_code=1).stderr


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_get_brings_both_versions_of_fastestdet(home: Path, store: ModelStore) -> None:
    mirror = str(need_data() / "models")
    for arguments in (["fastestdet"], ["fastestdet", "--version", "1"]):
        result = CliRunner().invoke(main, ["get", *arguments, "--mirror", mirror])
        assert result.exit_code == 0, result.output
    for version in ("v1", "v2"):
        assert isinstance(store.settle(ModelTag("fastestdet", version)), Artifact)
    sights = store.look()
    assert sights is not None
    assert sights["fastestdet"].latest == "v2"


def test_init_seeds_once(okawari: Okawari, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_import.demo_models, "DEMO", tree)
    monkeypatch.setitem(models_import.demo_models.seed.__kwdefaults__, "demo", tree)
    assert len(okawari("init").stdout.splitlines()) == 3
    assert okawari("init").stdout == ""
    okawari("remove", "code", "1")
    assert okawari("init").stdout == ""


class TestExport:
    @pytest.mark.process
    def test_out_and_in_again(
        self, okawari: Okawari, tree: Path, tmp_path: Path, bentoml: BentoML, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from models_import import subprocesses

        monkeypatch.setattr(subprocesses, "run_module", bentoml.run_module)
        okawari("import", tree)
        assert okawari("export", "code", "1").stdout == f"exported {tmp_path}/code-v1.bentomodel\n"
        assert "exists" in okawari("export", "code", "1", exit_code=1).stderr
        okawari("remove", "code", "v1")
        assert "imported code:v1" in okawari("import", "code-v1.bentomodel").stdout

    def test_what_is_not_there_is_refused_with_what_is(self, okawari: Okawari, tree: Path) -> None:
        okawari("import", tree)
        text = okawari("export", "code", "v", exit_code=1).stderr
        assert text == "okawari: there is no version v of code; versions: v1, v2, v10\n"


class TestRemove:
    @pytest.fixture(autouse=True)
    def _stocked(self, okawari: Okawari, tree: Path) -> None:
        okawari("import", tree)

    def test_it_says_what_latest_is_now(self, okawari: Okawari, home: Path) -> None:
        done = okawari("remove", "code", "10")
        assert (done.stdout, done.stderr) == ("removed code:v10\n", "latest of code is v2\n")
        assert (home / "models/code/latest").read_text() == "v2"

    def test_a_pinned_one_is_refused(self, okawari: Okawari, home: Path) -> None:
        okawari("pin", "code", "2")
        assert "pinned to v2" in okawari("remove", "code", "2", exit_code=1).stderr
        assert (home / "models/code/v2").is_dir()
        okawari("follow", "code", "latest")
        okawari("remove", "code", "2")

    @pytest.mark.parametrize("state", ["loading", "warming", "checking", "serving", "draining"])
    def test_one_that_the_service_holds_is_refused(
        self, okawari: Okawari, service: Service, home: Path, state: str
    ) -> None:
        service.says("code", None, v2=(state, None))
        assert f"code:v2 is {state} in the service" in okawari("remove", "code", "2", exit_code=1).stderr
        assert (home / "models/code/v2").is_dir()

    def test_one_that_the_service_loads_when_it_is_asked_for_is_refused(
        self, okawari: Okawari, service: Service, home: Path
    ) -> None:
        service.models["code"] = {"away": "v2"}
        service.write()
        assert "code:v2 is loaded when it is asked for" in okawari("remove", "code", "2", exit_code=1).stderr
        assert (home / "models/code/v2").is_dir()
        okawari("remove", "code", "10")

    @pytest.mark.parametrize("state", ["failed", "unservable", "closed"])
    def test_one_that_it_does_not_hold_may_go(
        self, okawari: Okawari, service: Service, home: Path, state: str
    ) -> None:
        service.says("code", "v10", v2=(state, "no good"))
        okawari("remove", "code", "2")
        assert not (home / "models/code/v2").exists()

    def test_what_a_service_held_that_has_ended_may_go(self, okawari: Okawari, service: Service) -> None:
        service.says("code", "v2")
        service.end()
        okawari("remove", "code", "2")

    def test_a_half_copied_one_may_go(self, okawari: Okawari, home: Path) -> None:
        (home / "models/code/v11").mkdir()
        okawari("remove", "code", "11")
        assert not (home / "models/code/v11").exists()

    def test_the_last_good_one_may_go_while_the_service_is_down(
        self, okawari: Okawari, desired: DesiredFile
    ) -> None:
        from hotswap.desired import set_target

        desired.edit(set_target("code", "latest", "test", None))
        okawari("remove", "code", "10")
        assert desired.read().models["code"].target == "latest"


def test_import_is_the_word_though_python_has_it_too() -> None:
    assert main.get_command(None, "import") is not None  # type: ignore[arg-type]
