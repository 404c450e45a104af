"""The registry as a file: what people may write into it, and how long it grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.registries import open_registry
from manifest.tags import ModelTag
from registry import registry_document
from registry.entries import RegistryEntry
from registry.errors import RegistryDamaged
from registry.model_registry import ModelRegistry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.json"


@pytest.fixture
def registry(path: Path) -> ModelRegistry:
    made = open_registry(path)
    for version in (1, 2, 3):
        made.register("m", version, f"models/m/{version}")
    made.activate("m", 1)
    return made


def _line(text: str, what: str, nth: int = 0) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if what in line]
    return lines[nth]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"staging"', '"production"', "a production version twice"),
        ('"version": 2', '"version": 1', "version v1 twice"),
        ('"staging"', '"best"', "status"),
        ('"path": "models/m/2"', '"path": "/etc/passwd"', "path"),
        ('"path": "models/m/2"', '"pathh": "models/m/2"', "path"),
    ],
)
def test_a_wrong_edit_is_refused_with_line_and_reason_while_the_last_content_holds(
    registry: ModelRegistry, path: Path, old: str, new: str, reason: str
) -> None:
    before, models = registry.list(), registry.pointers().models
    right = path.read_text()
    path.write_text(right.replace(old, new, 1))

    pointers = registry.pointers()
    assert (pointers.models, registry.list()) == (models, before)
    assert models["m"].production == "v1"
    problem = pointers.problem or ""
    assert f"{path}, line " in problem
    assert reason in problem
    with pytest.raises(RegistryDamaged) as refused:
        registry.activate("m", 3)
    assert refused.value.message == problem
    assert path.read_text() == right.replace(old, new, 1), "the edit is kept, to be mended"

    path.write_text(right)
    assert registry.pointers().problem is None
    assert registry.activate("m", 3).entry.version == "v3"


def test_two_production_versions_are_named_with_both_lines(registry: ModelRegistry, path: Path) -> None:
    edited = path.read_text().replace('"staging"', '"production"', 1)
    path.write_text(edited)
    lines = [_line(edited, '"model_name"', 0) - 1, _line(edited, '"model_name"', 1) - 1]
    problem = registry.pointers().problem or ""
    assert problem == (
        f"{path}, line {lines[1]}: m has a production version twice, first in line {lines[0]}; allowed is one"
    )
    # A process that starts with such a file has no content that could hold.
    with pytest.raises(RegistryDamaged):
        open_registry(path).pointers()


def test_the_history_keeps_so_many_changes_and_those_that_rollbacks_need(
    registry: ModelRegistry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_document, "MOST_HISTORY", 30)
    registry.activate("m", 2)
    for turn in range(50):
        registry.set_alias("m", "canary", 1 + turn % 2)
    history = json.loads(path.read_text())["history"]
    moves = [one for one in history if one["action"] == "activate"]
    assert (len(history), [one["after"] for one in moves]) == (32, [1, 2])
    assert [one["number"] for one in history][-30:] == list(range(26, 56))
    assert registry.rollback("m").entry.version == "v1"
    # Numbers go on: what was read up to a number misses nothing.
    assert registry.changes(55, 10)[0].number == 56


def test_what_has_not_changed_is_neither_serialised_nor_checked_again(
    registry: ModelRegistry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_registry(path)
    registry.register_each([(ModelTag("m", f"v{n}"), f"models/m/v{n}", None) for n in range(10, 200)])
    assert len(other.list()) == 193
    written: list[object] = []
    checked: list[object] = []
    write, check = registry_document._indented, RegistryEntry.model_validate_json

    monkeypatch.setattr(registry_document, "_indented", lambda part: (written.append(part), write(part))[1])
    monkeypatch.setattr(
        RegistryEntry, "model_validate_json", lambda text: (checked.append(text), check(text))[1]
    )
    registry.activate("m", 12)
    assert len(written) == 3, "the two versions and the change"
    assert other.production("m") == registry.production("m")
    assert len(checked) == 2
    written.clear()
    other.activate("m", 13)
    assert len(written) == 3, "also what another process wrote before is not serialised again"
    assert registry.production("m") == other.production("m")


def test_however_a_file_is_laid_out_it_says_the_same(registry: ModelRegistry, path: Path) -> None:
    metrics = {"a": 1, "b": 0.1, "c": 1e-9, "d": 2.0}
    odd = 'ä "},\n    {" \\ \u2028'
    registry.describe("m", 2, metadata={"description": odd, "metrics": metrics}, tags={"],": "{"})
    ours = path.read_bytes()
    content = json.loads(ours)
    layouts = [
        ours,
        json.dumps(content).encode(),
        json.dumps(content, indent=2).encode() + b"\n",
        json.dumps({"history": content["history"], "models": content["models"]}, indent=4).encode(),
    ]
    for layout in layouts:
        path.write_bytes(layout)
        fresh = open_registry(path)
        assert fresh.list() == registry.list()
        assert fresh.history("m") == registry.history("m")
        assert [type(value) for value in fresh.entry("m", 2).metadata.metrics.values()] == [int, *[float] * 3]
        fresh.activate("m", 3)
        assert json.loads(path.read_bytes())["models"][2]["status"] == "production"
        path.write_bytes(ours)
