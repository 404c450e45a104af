"""Logs: one JSON object a line in files and pipes, short text on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from api.answers import timings
from hotswap.dataplane import Answer

ROOT = "bentoml.okawari"
_inference = logging.getLogger(f"{ROOT}.inference")
_BYTES, _FILES = 20_000_000, 3


class JsonLines(logging.Formatter):
    """One line, one object: time, level, logger, message, and what the record carries in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; a stack trace becomes one field. A second handler gets the first's line."""
        known = getattr(record, "json_line", None)
        if isinstance(known, str):
            return known
        record.json_line = line = self._render(record)
        return line

    def _render(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("bentoml."),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class BoundedFile(RotatingFileHandler):
    """Rotates by the bytes that it wrote: the base class asks the disk, and renders again, at each line.

    The file is this process's own, so nobody else makes it grow.
    """

    _size: int | None = None

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the base class's name
        """Whether the next line would make the file too long."""
        if self.stream is None:
            self.stream = self._open()
        if self._size is None:
            self._size = self.stream.seek(0, os.SEEK_END)
        self._size += len(self.format(record)) + 1
        return self.maxBytes > 0 and self._size > self.maxBytes

    def doRollover(self) -> None:  # noqa: N802
        """Begin a new file."""
        super().doRollover()
        self._size = None


class _Short(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


def configure(folder: Path, worker: int, level: str) -> None:
    """Send our logs to standard error and to `folder`, and nowhere twice."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    for old in logger.handlers[:]:
        logger.removeHandler(old)
    for handler in _handlers(folder, worker):
        logger.addHandler(handler)


def _handlers(folder: Path, worker: int) -> list[logging.Handler]:
    console = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    console.setFormatter(_Short() if terminal else JsonLines())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = BoundedFile(
            folder / f"service-{worker}.jsonl", maxBytes=_BYTES, backupCount=_FILES, delay=True
        )
    except OSError:
        return [console]
    file.setFormatter(JsonLines())
    return [console, file]


def answered(answer: Answer) -> None:
    """One line for one inference."""
    if not _inference.isEnabledFor(logging.INFO):
        return
    found = [len(prediction.detections) for prediction in answer.predictions]
    _inference.info(
        "%s:%s found %s in %.1f ms",
        answer.model,
        answer.version,
        found[0] if len(found) == 1 else found,
        answer.total_ms,
        extra={
            "fields": {
                "request_id": answer.request_id,
                "model": answer.model,
                "model_version": answer.version,
                "model_digest": answer.digest,
                "generation": answer.generation,
                "timings_ms": timings(answer),
                "detections": sum(found),
                "images": len(found),
            }
        },
    )


def refused(request_id: str, model: str | None, code: str, message: str) -> None:
    """One line for a prediction that was not made."""
    fields = {"request_id": request_id, "model": model, "code": code}
    _inference.info("refused: %s", message, extra={"fields": fields})
