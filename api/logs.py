"""Logs: one JSON object a line in files and pipes, short text on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from api.answers import timings
from api.log_lines import BoundedFile, Gathered, JsonLines, Stream
from hotswap.requests import Answer, Answered, TensorAnswer

ROOT = "bentoml.okawari"
_inference = logging.getLogger(f"{ROOT}.inference")
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
    """Let no line of the gRPC library tell what callers sent."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_METADATA)


def configure(folder: Path, worker: int, level: str) -> None:
    """Send our logs to standard error and to `folder`, and nowhere twice."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(Gathered(_targets(folder, worker)))


def flush() -> None:
    """Write what waits to be written; the server's end by a signal would lose it."""
    for handler in logging.getLogger(ROOT).handlers:
        handler.flush()


def _targets(folder: Path, worker: int) -> list[Stream]:
    console = Stream(sys.stderr)
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
    told = found[0] if len(found) == 1 else found
    more = {"detections": sum(found), "images": len(found)}
    _answered(answer, f"found {told}", more)


def inferred(answer: TensorAnswer) -> None:
    """One line for one run of a graph on tensors."""
    if _inference.isEnabledFor(logging.INFO):
        _answered(answer, f"gave {len(answer.tensors)} tensors", {"tensors": len(answer.tensors)})


def _answered(answer: Answered, what: str, more: Mapping[str, int]) -> None:
    named = {
        "request_id": answer.request_id,
        "model": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "timings_ms": timings(answer),
    }
    _inference.info(
        "%s:%s %s in %.1f ms",
        answer.model,
        answer.version,
        what,
        answer.total_ms,
        extra={"fields": {**named, **more}},
    )


def refused(request_id: str, model: str | None, code: str, message: str) -> None:
    """One line for a prediction that was not made."""
    fields = {"request_id": request_id, "model": model, "code": code}
    _inference.info("refused: %s", message, extra={"fields": fields})
