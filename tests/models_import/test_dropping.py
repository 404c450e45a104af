"""What is put into a drop folder comes in when it is whole, and never before."""

from __future__ import annotations

import gc
import logging
import math
import shutil
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from models_import.drop_folder import Case, decide
from models_import.errors import ImportRefused
from models_import.probe import Task
from models_import.remover import remove
from tests.builders import graph
from tests.models_import.drops import QUIET, SETTLED, Drop, put
from tests.models_import.shop import stock, tree

NEVER = math.inf


@pytest.fixture
def drop(tmp_path: Path, home: Path) -> Drop:
    return Drop(tmp_path, home)


@pytest.mark.parametrize(
    ("case", "lacks", "found"),
    [
        (Case("a", 100), None, ("try", 100 + QUIET)),
        (Case("a", 100, tries=1), None, ("try", 100 + 2 * QUIET)),
        (Case("a", 100, tries=50), None, ("try", 100 + SETTLED)),
        (Case("a", 100), "weights", ("note", 100 + SETTLED)),
        (Case("a", 100, noted=True), "weights", ("rest", NEVER)),
        (Case("a", 100, reason="bad"), None, ("note", 100 + SETTLED)),
        (Case("a", 100, reason="bad", noted=True), None, ("rest", NEVER)),
        (Case("a", 100, reason="full", retry_at=105), None, ("try", 105)),
        (Case("a", 100, reason="full", retry_at=160), None, ("note", 100 + SETTLED)),
        (Case("a", 100, reason="full", retry_at=160, noted=True), None, ("try", 160)),
        (Case("a", 100, done=True), None, ("rest", NEVER)),
    ],
)
def test_what_is_done_next(case: Case, lacks: str | None, found: tuple[str, float]) -> None:
    assert decide(case, lacks) == found


class TestComesIn:
    def test_an_unreviewed_config_is_told(self, drop: Drop, caplog: pytest.LogCaptureFixture) -> None:
        put(drop, config={"inferred": {"input.colour_order": "not told"}})
        with caplog.at_level(logging.WARNING, "okawari.drop"):
            drop.turns()
            drop.passes(QUIET)
        assert drop.store() == ["v1"]
        (warning,) = caplog.messages
        assert "code:v1" in warning
        assert "input.colour_order" in warning

    def test_what_lies_there_at_the_start_in_natural_order(self, drop: Drop) -> None:
        for version in ("10", "2", "v1"):
            put(drop, version)
        drop.turns()
        drop.passes(QUIET)
        assert drop.store() == ["v1", "v10", "v2"]
        assert (drop.home / "models/code/latest").read_text() == "v10"
        assert drop.imports == 3

    def test_what_appears_later_when_it_has_been_at_rest(self, drop: Drop) -> None:
        assert drop.turns() > 0
        put(drop)
        assert drop.turns() == QUIET
        drop.passes(QUIET - 0.1)
        assert (drop.store(), drop.imports) == ([], 0)
        drop.passes(0.1)
        assert drop.store() == ["v1"]

    def test_while_anything_changes_nothing_is_tried(self, drop: Drop) -> None:
        folder = put(drop)
        (folder / "golden").mkdir()
        drop.turns()
        for number in range(5):
            drop.clock.now += QUIET - 0.1
            (folder / f"golden/{number}").touch()
            drop.turns()
        assert drop.imports == 0
        drop.passes(QUIET)
        assert drop.store() == ["v1"]

    def test_a_copy_with_stops_is_tried_ever_later_and_gets_no_note_before_it_settles(
        self, drop: Drop
    ) -> None:
        def whole(task: Task) -> Measured:
            if (task.folder / task.weights).read_bytes() != data:
                raise ImportRefused("the model cannot be used")
            return Measured(load_seconds=0, peak_bytes=0, resident_bytes=0, onnxruntime="0")

        drop.parts["probe"] = whole
        drop.drop = drop.fresh()
        folder = put(drop)
        data = (folder / "weights.onnx").read_bytes()
        for number, stop in enumerate((QUIET, 2 * QUIET, 4 * QUIET)):
            (folder / "weights.onnx").write_bytes(data[: 50 * (number + 1)])
            drop.turns()
            drop.passes(stop - 0.1)
            assert drop.imports == number
            drop.passes(0.1)
            assert (drop.imports, drop.store(), drop.notes()) == (number + 1, [], [])
        (folder / "weights.onnx").write_bytes(data)
        drop.turns()
        drop.passes(SETTLED)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    def test_what_the_store_has_with_the_same_files_is_left_alone(
        self, drop: Drop, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        stock(drop.home, tmp_path, "code", "v1", 1)
        shutil.copytree(tmp_path / "made/code/v1", drop.folder / "code/v1")
        before = tree(drop.home)
        with caplog.at_level(logging.INFO, "okawari.drop"):
            drop.settles()
        assert (drop.imports, drop.notes(), caplog.messages) == (0, [], [])
        assert tree(drop.home) == before

    def test_what_came_in_once_is_not_brought_back_when_it_is_removed(self, drop: Drop) -> None:
        put(drop)
        drop.settles()
        remove(drop.home, ModelTag("code", "v1"))
        drop.settles()
        assert drop.store() == []

    def test_files_that_change_while_they_are_copied_wait_for_rest(self, drop: Drop) -> None:
        folder = put(drop)

        def change(step: str) -> None:
            if step == "copy" and drop.imports == 1:
                (folder / "weights.onnx").write_bytes(graph(2).SerializeToString())

        drop.on_step = change
        drop.turns()
        drop.passes(QUIET)
        assert (drop.store(), "try" in drop.steps) == ([], False)
        drop.passes(SETTLED)
        assert (drop.store(), drop.notes()) == (["v1"], [])

    @pytest.mark.slow
    def test_memory_does_not_grow_with_looks(self, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        # The runner of the tests keeps what is logged.
        monkeypatch.setattr(logging.getLogger("okawari.drop"), "disabled", True)
        put(drop)
        (drop.folder / "odd name/v1").mkdir(parents=True)
        (drop.folder / "odd name/v1/config.json").touch()
        odd = drop.folder / "odd name"
        folder = put(drop, "v2")
        drop.settles()

        def looks(count: int) -> int:
            nonlocal folder, odd
            for _ in range(count):
                odd = odd.rename(odd.with_name(f"odd {time.monotonic_ns()}"))
                folder = folder.rename(folder.with_name(f"v{time.monotonic_ns()}"))
                drop.turns()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            held = [looks(60) for _ in range(5)]
            # Tables of the interpreter grow now and then, by leaps; what is kept of each look grows always.
            assert min(after - before for before, after in pairwise(held)) < 2_000
        finally:
            tracemalloc.stop()
