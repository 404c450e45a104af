"""The parts of a run: each can be asked for, and each has something that measures it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import machine
from benchmarks.options import PARTS, Options
from benchmarks.run import Bench


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_measured(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OKAWARI_TEST_DATA", raising=False)
    monkeypatch.setattr(
        machine,
        "describe",
        lambda: dict.fromkeys(("cores", "processor", "commit", "load_before"), 0) | {"at": "now"},
    )
    bench = Bench(Options(parts=(part,), results=tmp_path), tmp_path, Console(quiet=True))
    taken: list[str] = []
    for name in dir(Bench):
        if name.startswith("_take_"):
            monkeypatch.setattr(bench, name, lambda name=name: taken.append(name))
    bench.run()
    assert len(taken) == 1
