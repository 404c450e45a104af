"""Log files: one line a record, written once rendered, and never longer than they may be."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from api.logs import BoundedFile, JsonLines


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
