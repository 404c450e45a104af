"""`catalogue`, and what it lists coming in by `get` and `import`."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import import catalogue
from models_import.catalogue import CatalogueEntry, choose, config_of, entries
from models_import.store import ModelStore
from tests.builders import write_version
from tests.cli.conftest import Okawari
from tests.cli.test_main import on_a_terminal
from tests.data import need_data
from tests.models_import.shop import day, stock

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def document(okawari: Okawari, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(okawari("catalogue", *names, "--json").stdout)["models"]
    return found


class TestTable:
    def test_every_model_is_one_whole_line_where_there_is_no_terminal(self, okawari: Okawari) -> None:
        head, *rows = okawari("catalogue").stdout.splitlines()
        assert head.split() == ["MODEL", "TASK", "SIZE", "LICENCE", "QUALITY", "STORED", "SOURCE"]
        assert len(rows) == len(entries())
        for row, entry in zip(rows, entries(), strict=True):
            assert row.startswith(f"{entry.tag} ")
            assert row.endswith(f" {entry.source}")
            task = config_of(entry).task
            for told in (f" {task} ", f" {entry.licence} ", f" {entry.measured} ", "B "):
                assert told in row

    def test_names_choose(self, okawari: Okawari) -> None:
        _, *rows = okawari("catalogue", "nanodet_m_416", "fastestdet").stdout.splitlines()
        assert [row.split()[0] for row in rows] == ["fastestdet:v1", "fastestdet:v2", "nanodet_m_416:v1"]
        refused = okawari("catalogue", "fastestdet", "nope", exit_code=1).stderr
        assert refused.startswith("okawari: the catalogue has no 'nope'; it has clip_vit_b32, ")

    @pytest.mark.e2e
    @pytest.mark.timeout(120)
    def test_it_fits_a_terminal_of_80(self, home: Path) -> None:
        lines = [
            COLOURS.sub("", line).rstrip() for line in on_a_terminal("catalogue", home=home).splitlines()
        ]
        rows, ways = lines[: 1 + 2 * len(entries())], lines[1 + 2 * len(entries()) :]
        assert max(map(len, rows)) <= 80
        assert [row.split()[0] for row in rows[1::2]] == [str(entry.tag) for entry in entries()]
        assert "  github.com/dog-qiuqiu/FastestDet/tree/6d08de2" in rows[2::2]
        assert any(way.startswith("AP50 of ultraface_rfb_320, ultraface_slim_320: of 18 ") for way in ways)


class TestStored:
    @pytest.fixture
    def mirror(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """One more model in the catalogue, and a folder with its weights."""
        folder = write_version(tmp_path / "mirror", "any", "thing", 4)
        data = (folder / "weights.onnx").read_bytes()
        more = {
            "name": "code",
            "version": "v1",
            "created": day(1),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        one = choose(entries(), "yolox_nano", None).model_copy(update=more)
        monkeypatch.setattr(catalogue, "entries", lambda: [one])
        return tmp_path / "mirror"

    def test_what_the_store_holds_is_marked(self, okawari: Okawari, mirror: Path) -> None:
        assert okawari("catalogue").stdout.splitlines()[1].split()[-2] == "-"
        (before,) = document(okawari)
        assert (before["stored"], before["stored_digest"]) == (False, None)
        okawari("get", "code", "--mirror", mirror)
        assert okawari("catalogue").stdout.splitlines()[1].split()[-2] == "yes"
        (after,) = document(okawari)
        assert (after["stored"], after["stored_digest"]) == (True, before["digest"])

    def test_other_files_by_its_tag_are_told_apart(
        self, okawari: Okawari, mirror: Path, home: Path, tmp_path: Path
    ) -> None:
        stock(home, tmp_path, "code", "v1", 7)
        assert okawari("catalogue").stdout.splitlines()[1].split()[-2] == "differs"
        (one,) = document(okawari)
        assert one["stored"] is False
        assert one["stored_digest"] not in (None, one["digest"])

    def test_a_half_copied_one_is_not_held(self, okawari: Okawari, mirror: Path, home: Path) -> None:
        okawari("get", "code", "--mirror", mirror)
        (home / "models/code/v1/weights.onnx").unlink()
        assert okawari("catalogue").stdout.splitlines()[1].split()[-2] == "differs"


def test_json_holds_all_that_is_known(okawari: Okawari) -> None:
    (one,) = document(okawari, "yolox_nano")
    assert (one["name"], one["version"], one["family"]) == ("yolox_nano", "v1", "yolox")
    assert (one["task"], one["size"], one["licence"]) == ("object-detection", 3_660_092, "Apache-2.0")
    assert one["quality"]["measure"] == "AP50"
    assert 0.5 < one["quality"]["value"] < 0.65
    assert one["url"].endswith("/model/yolox_nano.onnx")


NEW = [entry for entry in entries() if entry.name != "fastestdet" and entry.quality]


def _run(*arguments: object, exit_code: int = 0) -> Result:
    """The command line with its real probe."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="okawari")
    assert result.exit_code == exit_code, result.output
    return result


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "entry",
    [NEW[0], *(pytest.param(entry, marks=pytest.mark.full) for entry in NEW[1:])],
    ids=lambda entry: str(entry.tag),
)
def test_get_brings_each(home: Path, store: ModelStore, entry: CatalogueEntry) -> None:
    _run("get", entry.name, "--mirror", need_data() / "models")
    settled = store.settle(entry.tag)
    assert isinstance(settled, Artifact)
    assert settled.config == config_of(entry)
    assert settled.measured is not None
    assert json.loads(_run("catalogue", entry.name, "--json").stdout)["models"][0]["stored"] is True


def _folder(home: Path, entry: CatalogueEntry, **changes: Any) -> Path:
    """A folder that a user might have made by hand."""
    made = home / "detector" / "7"
    made.mkdir(parents=True)
    shutil.copyfile(catalogue._in_mirror(entry, entry, need_data() / "models"), made / "export.onnx")
    config = config_of(entry).model_dump(mode="json", exclude_none=True) | changes
    (made / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "name",
    [
        "yolox_nano",
        *(pytest.param(name, marks=pytest.mark.full) for name in ("nanodet_m_320", "ultraface_slim_320")),
    ],
)
def test_a_folder_with_the_familys_config_comes_in(
    home: Path, tmp_path: Path, store: ModelStore, name: str
) -> None:
    _run("import", _folder(tmp_path / "tree", choose(entries(), name, None)))
    assert isinstance(store.settle(ModelTag("detector", "v7")), Artifact)


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "family", "said"),
    [
        ("yolox_nano", "nanodet", "output.names: family 'nanodet' reads 6 outputs"),
        ("nanodet_m_320", "yolox", "family 'yolox' reads one output"),
        ("ultraface_slim_320", "shapes", "family 'shapes' reads one output"),
        ("yolox_nano", "shapes", "should be [84, H, W] (4 + one channel per label), found [3549, 85]"),
    ],
)
def test_a_graph_of_another_family_is_refused_with_a_plain_reason(
    home: Path, tmp_path: Path, name: str, family: str, said: str
) -> None:
    output = {"names": config_of(choose(entries(), name, None)).output.names}
    folder = _folder(tmp_path / "tree", choose(entries(), name, None), family=family, output=output)
    refused = _run("import", folder, exit_code=1)
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (home / "models/detector").exists()
