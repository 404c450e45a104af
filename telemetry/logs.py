"""The logs: records as JSON lines in files and pipes, and the lines of answered and refused requests."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson

from common.text import plain
from hotswap.predictions import Answer, BaseAnswer, TensorAnswer, timings
from lineage.records import ImageRecord
from telemetry import spans

#: Seconds that a line may wait for others.
_GATHER_SECONDS = 0.05
#: Characters of a message for people.
_MOST_TEXT = 2000
#: Records that wait at most; the thread that adds one more writes them all.
_MOST = 1000


class JsonLines(logging.Formatter):
    """One line, one object: timestamp, level, logger, message, and what the record carries in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; a stack trace becomes one field. A second handler gets the first's line."""
        known = getattr(record, "json_line", None)
        if isinstance(known, str):
            return known
        record.json_line = line = self._render(record)
        return line

    def _render(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name.removeprefix("bentoml."),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextLines(logging.Formatter):
    """One line for people: time, level, logger, message, and the fields as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record on one line, a stack trace below it. What callers sent begins no line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        head = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z {record.levelname:<7}"
        parts = [head, f"{record.name.removeprefix('bentoml.')}:", plain(record.getMessage(), _MOST_TEXT)]
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            parts += [f"{name}={_field(value)}" for name, value in fields.items() if value is not None]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _field(value: object) -> str:
    """A value without spaces as it is, any other as JSON."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


class Stream(logging.StreamHandler[Any]):
    """Writes any number of records at once."""

    def write_all(self, records: Sequence[logging.LogRecord]) -> None:
        """Write these records; what goes wrong is reported as the library does it."""
        try:
            self._write("".join(f"{self.format(record)}{self.terminator}" for record in records))
        except Exception:  # noqa: BLE001 - logging must not end what it logs
            self.handleError(records[-1])

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.write_all((record,))


class BoundedFile(Stream, RotatingFileHandler):
    """A file that begins anew before it grows too long; it is this process's own.

    The base class asks the disk, and renders again, at each line.
    """

    def _write(self, text: str) -> None:
        self.stream = self.stream or self._open()
        written = self.stream.tell()
        if written and written + len(text.encode()) > self.maxBytes > 0:
            self.doRollover()
            self.stream = self.stream or self._open()
        super()._write(text)


class Gathered(logging.Handler):
    """Hands records on a moment later, in a thread of its own, many in one go.

    A write lets go of the interpreter, and the thread that answers would wait for its turn again after
    every line. Warnings and worse are written before `emit` returns, and with them all that came before.
    """

    def __init__(self, targets: Sequence[Stream]) -> None:
        super().__init__()
        self._targets = tuple(targets)
        self._waiting: deque[logging.LogRecord] = deque()
        self._some = threading.Event()
        self._writing = threading.Lock()
        self._closed = False
        threading.Thread(target=self._serve, name="okawari-log", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record. Without the base class's lock: adding to the queue needs none."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record for a moment, or write it now if it is urgent or too many wait."""
        self._waiting.append(record)
        if record.levelno >= logging.WARNING or len(self._waiting) >= _MOST or self._closed:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write all that waits."""
        with self._writing:
            records = []
            while self._waiting:
                records.append(self._waiting.popleft())
            if records:
                for target in self._targets:
                    target.write_all(records)

    def close(self) -> None:
        """Write all that waits; what still comes is written at once."""
        self._closed = True
        self._some.set()
        self.flush()
        for target in self._targets:
            target.close()
        super().close()

    def _serve(self) -> None:
        while not self._closed:
            self._some.wait()
            time.sleep(_GATHER_SECONDS)
            self._some.clear()
            self.flush()


ROOT = "bentoml.okawari"
_inference = logging.getLogger(f"{ROOT}.inference")
_pictures = logging.getLogger(f"{ROOT}.pictures")
_BYTES, _FILES = 20_000_000, 3


class _Short(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


class _Metadata(logging.Filter):
    """The gRPC library logs what callers sent as metadata where it is no text, tokens among them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.msg, record.args = "metadata of a caller are not UTF-8, and are read as bytes", ()
            record.exc_info = record.exc_text = None
        return True


_METADATA = _Metadata()


def hide_metadata() -> None:
    """Keep what callers sent out of the gRPC library's lines."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_METADATA)


def configure(folder: Path, worker: int, level: str, *, text: bool = False) -> None:
    """Send our logs to standard error and to `folder`, and nowhere twice.

    With `text` standard error gets lines for people; the files have JSON for good.
    """
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(Gathered(_targets(folder, worker, text=text)))


def flush() -> None:
    """Write what waits to be written; the server's end by a signal would lose it."""
    for handler in logging.getLogger(ROOT).handlers:
        handler.flush()


def _targets(folder: Path, worker: int, *, text: bool) -> list[Stream]:
    console = Stream(sys.stderr)
    console.setFormatter(_console(terminal=sys.stderr.isatty(), text=text))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = BoundedFile(
            folder / f"service-{worker}.jsonl", maxBytes=_BYTES, backupCount=_FILES, delay=True
        )
    except OSError:
        return [console]
    file.setFormatter(JsonLines())
    return [console, file]


def _console(*, terminal: bool, text: bool) -> logging.Formatter:
    if text:
        return TextLines()
    return _Short() if terminal else JsonLines()


def answered(answer: Answer) -> None:
    """One line for one inference."""
    if not _inference.isEnabledFor(logging.INFO):
        return
    found = [len(prediction.detections) for prediction in answer.predictions]
    pictures = found[0] if len(found) == 1 else found
    scores = [score for prediction in answer.predictions for score in prediction.scores]
    more: dict[str, object] = {
        "num_images": len(found),
        "num_detections": sum(found),
        "max_confidence": max(scores, default=None),
        "image_size_bytes": answer.image_bytes,
    }
    if answer.detector is not None:
        more |= {"detector_name": answer.detector.model, "detector_version": answer.detector.version}
    _answered(answer, f"found {pictures}", more)


def stored(record: ImageRecord) -> None:
    """One line for one picture of a device that is kept."""
    if not _pictures.isEnabledFor(logging.INFO):
        return
    capture, run = record.capture, record.run
    fields: dict[str, object] = {
        "device_id": capture.device_id,
        "image_id": str(record.image_id),
        "path": record.path,
        "image_size_bytes": capture.size_bytes,
        "num_detections": len(record.found),
        "max_confidence": max((each.confidence for each in record.found), default=None),
    }
    if run is not None:
        fields |= {
            "model_name": run.model_name,
            "model_version": run.model_version,
            "model_digest": run.model_digest,
            "inference_time_ms": run.duration_ms,
        }
    fields |= _traced()
    _pictures.info("%s handed in %s", capture.device_id, record.image_id, extra={"fields": fields})


def inferred(answer: TensorAnswer) -> None:
    """One line for one run of a graph on tensors."""
    if _inference.isEnabledFor(logging.INFO):
        _answered(answer, f"gave {len(answer.tensors)} tensors", {"tensors": len(answer.tensors)})


def _answered(answer: BaseAnswer, what: str, more: Mapping[str, object]) -> None:
    named = {
        "request_id": answer.request_id,
        "model_name": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "inference_time_ms": round(answer.stages.inference, 3),
        "timings_ms": timings(answer),
    }
    _inference.info(
        "%s:%s %s in %.1f ms",
        answer.model,
        answer.version,
        what,
        answer.total_ms,
        extra={"fields": {**named, **more, **_traced()}},
    )


def refused(request_id: str, model: str | None, code: str, message: str) -> None:
    """One line for a prediction that was not made."""
    fields = {"request_id": request_id, "model_name": model, "code": code, **_traced()}
    _inference.info("refused: %s", message, extra={"fields": fields})


def _traced() -> dict[str, str]:
    """The trace that a line belongs to, where there is one."""
    trace = spans.trace_id()
    return {} if trace is None else {"trace_id": trace}
