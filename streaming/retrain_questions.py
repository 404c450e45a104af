"""Requests to train a model anew: recorded, and offered to a command or a webhook of the operator.

Nothing is trained here. Who trains imports a version, which then proves itself like any other.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from tempfile import TemporaryFile
from typing import Protocol

from streaming.dispatcher import Question
from streaming.event_shapes import RetrainRecorded, RetrainRequested, read_event
from streaming.http_client import HttpInference
from streaming.messages import IncomingRecord, OutgoingRecord
from streaming.outcomes import OURS, trace_of
from streaming.replies import FailedReply, Success, Unreachable, judge_status

_LONGEST = 500
#: Codes of a command that someone stopped, as the whole service may be.
_STOPPED = (-signal.SIGINT, -signal.SIGTERM)
#: Seconds for a command: it starts a training elsewhere, and does not wait for it.
_COMMAND_SECONDS = 60.0


class OfferFailed(Exception):
    """A request was not taken; `reply` says whether to offer it again."""

    def __init__(self, code: str, reason: str, *, transient: bool) -> None:
        super().__init__(reason)
        self.reply = FailedReply(code, reason[:_LONGEST], transient)


class RetrainOffer(Protocol):
    """Hands a request on."""

    @property
    def name(self) -> str:
        """What it is: `command` or `webhook`."""
        ...

    async def __call__(self, request: RetrainRequested, request_id: str) -> None:
        """Hand it on; the same id may come again after a crash. Raises `OfferFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class CommandOffer:
    """Runs a command with the event on its standard input, without a shell."""

    words: Sequence[str]
    seconds: float = _COMMAND_SECONDS
    name: str = "command"

    @classmethod
    def of(cls, line: str) -> CommandOffer:
        """Words as a shell would split them. Raises `ValueError`."""
        words = shlex.split(line)
        if not words:
            raise ValueError("the command has no words")
        return cls(words)

    async def __call__(self, request: RetrainRequested, request_id: str) -> None:
        """See `RetrainOffer`. A failure is for good: its dead letter can be sent back."""
        # Files, not pipes: what the command leaves running may keep them.
        with TemporaryFile() as event, TemporaryFile() as errors:
            event.write(request.model_dump_json().encode())
            event.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.words,
                    request_id,
                    stdin=event,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise OfferFailed("command_failed", f"{self.words[0]}: {error}", transient=False) from None
            code = await self._ended(process)
            if code != 0:
                errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LONGEST))
                text = errors.read().decode("utf-8", "replace").strip()
                reason = f"{self.words[0]} ended with {code}: {text}"
                raise OfferFailed("command_failed", reason, transient=code in _STOPPED)

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        try:
            async with asyncio.timeout(self.seconds):
                return await process.wait()
        except TimeoutError:
            text = f"{self.words[0]} did not end within {self.seconds:g} s"
            raise OfferFailed("command_timed_out", text, transient=False) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class WebhookOffer:
    """Posts the event as JSON; `X-Request-Id` is the id of the request."""

    client: HttpInference
    name: str = "webhook"

    async def __call__(self, request: RetrainRequested, request_id: str) -> None:
        """See `RetrainOffer`."""
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        try:
            reply = await self.client.infer(request.model_dump_json().encode(), headers)
        except Unreachable as error:
            raise OfferFailed("unreachable", str(error), transient=True) from None
        failed = judge_status(reply)
        if failed is not None:
            raise OfferFailed(failed.code, failed.reason, transient=failed.transient)


class NotRecorded(Exception):
    """The record of a request cannot be written now."""


#: Writes down a request, once for each source, durably. Raises `NotRecorded`.
RecordRequest = Callable[[RetrainRequested, str], None]


@dataclass(frozen=True, slots=True)
class RetrainQuestions:
    """Reads events as requests to record and to offer."""

    record: RecordRequest
    offer: RetrainOffer | None = None

    def __call__(self, record: IncomingRecord) -> Question:
        """See `ReadQuestion`."""
        return _RetrainQuestion(self, record, read_event(RetrainRequested, record.value))


@dataclass(frozen=True, slots=True)
class _RetrainQuestion:
    parts: RetrainQuestions
    record: IncomingRecord
    request: RetrainRequested

    async def ask(self) -> Success | FailedReply:
        identity = self.record.position.id
        # Another topic of that name, or of another broker, has the same ids.
        source = f"{identity}/{sha256(self.record.value or b'').hexdigest()[:16]}"
        try:
            await asyncio.to_thread(self.parts.record, self.request, source)
        except NotRecorded as error:
            return FailedReply("not_recorded", str(error)[:_LONGEST], transient=True)
        if self.parts.offer is not None:
            try:
                await self.parts.offer(self.request, identity)
            except OfferFailed as failed:
                return failed.reply
        return Success({})

    def answered(self, said: Success, attempts: int, seconds: float) -> OutgoingRecord:  # noqa: ARG002
        offer = self.parts.offer
        event = RetrainRecorded(
            request_id=self.record.position.id,
            model_name=self.request.model_name,
            offered_to=None if offer is None else offer.name,
        )
        headers = (
            (f"{OURS}id", self.record.position.id.encode()),
            (f"{OURS}attempts", str(attempts).encode()),
            *trace_of(self.record),
        )
        key = self.request.model_name.encode()
        return OutgoingRecord(RetrainRecorded.topic, event.model_dump_json().encode(), key, headers)
