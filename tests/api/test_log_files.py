"""Log files: one line a record, gathered for a moment, never longer than they may be."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.logs import BoundedFile, Gathered, JsonLines
from tests.e2e.waiting import until


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("bentoml.okawari.test", logging.INFO, __file__, 1, text, (), None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lines go."""
    return tmp_path / "service-1.jsonl"


def _file(path: Path, most: int) -> BoundedFile:
    handler = BoundedFile(path, maxBytes=most, backupCount=2, delay=True)
    handler.setFormatter(JsonLines())
    return handler


def test_a_file_grows_no_longer_than_allowed_and_no_line_is_lost(path: Path) -> None:
    handler = _file(path, most=1000)
    for number in range(30):
        handler.emit(_record(f"line {number}"))
    handler.close()
    files = [path, path.with_name(path.name + ".1"), path.with_name(path.name + ".2")]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    lines = [json.loads(line) for file in reversed(files) for line in file.read_text().splitlines()]
    assert [line["message"] for line in lines] == [f"line {number}" for number in range(30 - len(lines), 30)]


def test_what_a_file_held_before_counts(path: Path) -> None:
    path.write_text("x" * 990 + "\n")
    handler = _file(path, most=1000)
    handler.emit(_record("fresh"))
    handler.close()
    assert json.loads(path.read_text())["message"] == "fresh"
    assert path.with_name(path.name + ".1").stat().st_size == 991


def test_a_second_handler_gets_the_line_that_the_first_one_rendered() -> None:
    record = _record("once")
    first = JsonLines().format(record)
    record.msg = "twice"
    assert JsonLines().format(record) == first


class _Held(BoundedFile):
    """Counts how often it was told to write."""

    writes = 0

    def _write(self, text: str) -> None:
        self.writes += 1
        super()._write(text)


@pytest.fixture
def gathered(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gathered, _Held]]:
    """A handler whose thread gathers for longer than any test lasts."""
    monkeypatch.setattr("telemetry.logs._GATHER_SECONDS", 3600.0)
    file = _Held(path, delay=True)
    file.setFormatter(JsonLines())
    handler = Gathered([file])
    yield handler, file
    handler.close()


def _messages(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()] if path.exists() else []


def test_lines_that_come_together_are_written_together(gathered: tuple[Gathered, _Held], path: Path) -> None:
    handler, file = gathered
    for number in range(5):
        handler.handle(_record(str(number)))
    assert _messages(path) == []
    handler.flush()
    assert (_messages(path), file.writes) == (list("01234"), 1)


def test_a_warning_is_on_disk_at_once_behind_what_came_before(
    gathered: tuple[Gathered, _Held], path: Path
) -> None:
    handler, _ = gathered
    handler.handle(_record("before"))
    warning = _record("warning")
    warning.levelno = logging.WARNING
    handler.handle(warning)
    assert _messages(path) == ["before", "warning"]


def test_no_more_than_a_bounded_number_of_lines_waits(
    gathered: tuple[Gathered, _Held], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.logs._MOST", 3)
    handler, _ = gathered
    for number in range(4):
        handler.handle(_record(str(number)))
    assert _messages(path) == ["0", "1", "2"]


def test_what_waits_at_the_end_is_written_and_so_is_what_comes_after_it(
    gathered: tuple[Gathered, _Held], path: Path
) -> None:
    handler, _ = gathered
    handler.handle(_record("waiting"))
    handler.close()
    assert _messages(path) == ["waiting"]
    handler.handle(_record("late"))
    assert _messages(path) == ["waiting", "late"]


def test_the_thread_writes_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.logs._GATHER_SECONDS", 0.0)
    file = _Held(path, delay=True)
    file.setFormatter(JsonLines())
    handler = Gathered([file])
    handler.handle(_record("alone"))
    until(lambda: _messages(path) == ["alone"], "the line")
    handler.close()
