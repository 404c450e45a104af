"""The detection server, as a client sees it: what it keeps, refuses for good, or may take later."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import httpx
from edge_config import EdgeConfig, TokenRefused
from picture_spool import SpoolEntry

_DETECT, _BATCH = "detect", "detect/batch"
_MEDIA = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
#: Statuses of a picture or form that will never be accepted, and of a server that takes no batches.
_REFUSED = frozenset((400, 413, 415, 422))
_NO_BATCHES = frozenset((404, 405, 501))
#: Seconds for a batch, beside those for one picture; the server has as many.
_BATCH_SECONDS = 300.0
_LONGEST_RETRY_AFTER = 3600.0


class TryLater(Exception):
    """Nothing is known to be delivered; it may be tried again, but not before `after` seconds."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class PictureRefused(Exception):
    """The server will never accept this."""


class NoBatches(PictureRefused):
    """The server takes pictures singly only."""


class DetectionServer:
    """The two routes for pictures."""

    def __init__(self, config: EdgeConfig, http: httpx.Client) -> None:
        self._config, self._http = config, http
        self._token = config.token()

    def send(self, entry: SpoolEntry) -> str:
        """Deliver one picture; what was found, for people."""
        form = {"timestamp": entry.captured_at, "metadata": json.dumps(self._config.metadata)}
        with entry.picture.open("rb") as picture:
            files = [("image", (_text(entry.filename), picture, _media(entry)))]
            key = {"Idempotency-Key": entry.idempotency_key}
            answer = self._post(_DETECT, form, files, key, self._config.timeout_sec)
        if not isinstance(answer.get("image_id"), str):
            raise TryLater("the answer is none of the detection server's")
        found = answer.get("detections") or ()
        return f"{len(found)} found by {answer.get('model')}:{answer.get('model_version')}"

    def send_batch(self, entries: Sequence[SpoolEntry]) -> list[SpoolEntry]:
        """Deliver several pictures; those that are kept. Raises `NoBatches` where there is no such route."""
        named = _named(entries)
        form = {
            "timestamps": json.dumps([entry.captured_at for entry in entries]),
            "metadatas": json.dumps([self._config.metadata] * len(entries)),
        }
        with contextlib.ExitStack() as opened:
            files = [
                ("images", (name, opened.enter_context(each.picture.open("rb")), _media(each)))
                for name, each in named.items()
            ]
            answer = self._post(_BATCH, form, files, {}, _BATCH_SECONDS + self._config.timeout_sec)
        failed, processed = answer.get("failed_images"), answer.get("total_processed")
        if not isinstance(failed, list) or not named.keys() >= set(failed):
            raise TryLater("the answer is none of the detection server's")
        kept = [entry for name, entry in named.items() if name not in failed]
        if processed != len(kept):
            raise TryLater("the answer does not count all pictures of the batch")
        return kept

    def _post(
        self, path: str, form: dict[str, str], files: list[Any], headers: dict[str, str], seconds: float
    ) -> dict[str, Any]:
        """The answer. Raises `PictureRefused`, `NoBatches`, `TryLater`, `TokenRefused`."""
        answer = self._try(path, form, files, headers, seconds)
        if answer.status_code in (401, 403):
            self._read_token(answer)
            answer = self._try(path, form, files, headers, seconds)
        if answer.status_code in (401, 403):
            raise TokenRefused(f"the server refuses the token: {_said(answer)}")
        if answer.status_code in _REFUSED:
            raise PictureRefused(_said(answer))
        if answer.status_code in _NO_BATCHES and path == _BATCH:
            raise NoBatches(_said(answer))
        if answer.status_code != 200:
            raise TryLater(_said(answer), _retry_after(answer))
        try:
            document = answer.json()
        except ValueError:
            document = None
        return document if isinstance(document, dict) else {}

    def _try(
        self, path: str, form: dict[str, str], files: list[Any], headers: dict[str, str], seconds: float
    ) -> httpx.Response:
        for _, (_, picture, _) in files:
            picture.seek(0)
        known = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
        if self._token is not None:
            known["X-API-Token"] = self._token
        try:
            return self._http.post(
                f"{self._config.url.rstrip('/')}/api/v1/{path}",
                data={"device_id": self._config.device_id, **form},
                files=files,
                headers={**headers, **known},
                timeout=httpx.Timeout(seconds, connect=10.0),
            )
        except httpx.HTTPError as error:
            raise TryLater(f"no answer: {error!r}") from None

    def _read_token(self, answer: httpx.Response) -> None:
        fresh = self._config.token()
        if fresh == self._token:
            raise TokenRefused(f"the server refuses the token, which is still the same: {_said(answer)}")
        self._token = fresh


def _named(entries: Sequence[SpoolEntry]) -> dict[str, SpoolEntry]:
    """The entries by a file name that each has alone: the answer tells pictures by them."""
    named: dict[str, SpoolEntry] = {}
    for entry in entries:
        name = _text(entry.filename)
        named[f"{entry.idempotency_key[:16]}-{name}" if name in named else name] = entry
    return named


def _text(filename: str) -> str:
    """A file's name as the server gives it back: printable UTF-8."""
    return "".join(char if char.isprintable() and char not in '"/\\' else "_" for char in filename)[:200]


def _media(entry: SpoolEntry) -> str:
    return _MEDIA.get(entry.picture.suffix.lower(), "application/octet-stream")


def _said(answer: httpx.Response) -> str:
    """Status and message, on one line."""
    return f"{answer.status_code} {' '.join(answer.text[:500].split())}"


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that the server asks for: a number, or a date."""
    text = answer.headers.get("Retry-After", "")
    try:
        if text.isdecimal():
            return min(float(text), _LONGEST_RETRY_AFTER)
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        return max(0.0, min(seconds, _LONGEST_RETRY_AFTER))
    except (ValueError, TypeError):
        return 0.0
