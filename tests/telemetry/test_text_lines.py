"""Log lines for people: one line a record, whatever callers sent."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry import logs
from telemetry.logs import TextLines


def _record(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("bentoml.okawari.test", logging.INFO, __file__, 1, message, (), None)
    record.created = 1_800_000_000.25
    if fields:
        record.fields = fields
    return record


def test_a_line_has_time_level_logger_message_and_fields() -> None:
    line = TextLines().format(_record("found 2", request_id="r1", timings_ms={"queue": 1.5}, model_name=None))
    assert line == (
        "2027-01-15 08:00:00.250Z INFO    okawari.test: found 2 request_id=r1 "
        r'timings_ms="{\"queue\":1.5}"'
    )


@pytest.mark.parametrize("text", ["a\nb", "a\r\x1b[2Jb", "a\u2028b"])
def test_what_callers_sent_begins_no_line_and_no_escape(text: str) -> None:
    line = TextLines().format(_record(text, code=text, key='a" other=1'))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r'key="a\" other=1"' in line


def test_a_stack_trace_follows_below() -> None:
    record = _record("failed")
    try:
        raise ValueError("the reason")
    except ValueError:
        record.exc_info = sys.exc_info()
    first, *more = TextLines().format(record).splitlines()
    assert first.endswith("failed")
    assert more[-1] == "ValueError: the reason"


@pytest.fixture
def _logs_put_back() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.usefixtures("_logs_put_back")
def test_text_is_for_standard_error_and_files_stay_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bool
) -> None:
    console = io.StringIO()
    monkeypatch.setattr(sys, "stderr", console)
    logs.configure(tmp_path, 1, "INFO", text=text)
    logging.getLogger(f"{logs.ROOT}.test").info("hello", extra={"fields": {"n": 1}})
    logs.flush()
    assert json.loads((tmp_path / "service-1.jsonl").read_text())["n"] == 1
    if text:
        assert console.getvalue().endswith("okawari.test: hello n=1\n")
    else:
        assert json.loads(console.getvalue())["message"] == "hello"
