"""Requests to train anew: what is written down, what is handed on, and what happens where that fails."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streaming.dispatcher import Dispatcher
from streaming.event_shapes import RetrainRequested
from streaming.messages import IncomingRecord, OutgoingRecord, Position
from streaming.outcomes import OutcomeTopics
from streaming.replies import Reply, Unreachable
from streaming.retrain_questions import (
    CommandOffer,
    NotRecorded,
    RetrainOffer,
    RetrainQuestions,
    WebhookOffer,
)
from streaming.retries import RetryPolicy
from tests.streaming.fake_service import ScriptedService, refused

REQUEST = RetrainRequested(model_name="shapes", reason="night", requested_by="ana")
TOPICS = OutcomeTopics("events", "unused", "letters")
IDENTITY = "model.retrain.requested.v1-3-9"


def _record(value: bytes) -> IncomingRecord:
    return IncomingRecord(Position("model.retrain.requested.v1", 3, 9), value, None, ())


def _outcome(
    written: list[tuple[RetrainRequested, str]] | Callable[[RetrainRequested, str], None],
    offer: RetrainOffer | None,
    value: bytes = REQUEST.model_dump_json().encode(),
) -> OutgoingRecord:
    record = written if callable(written) else lambda request, identity: written.append((request, identity))

    async def pause(_: float) -> None: ...

    dispatcher = Dispatcher(RetrainQuestions(record, offer), TOPICS, RetryPolicy(60.0), sleep=pause)
    return asyncio.run(dispatcher.outcome(_record(value)))


def _code(outcome: OutgoingRecord) -> str:
    assert outcome.topic == "letters"
    return bytes(dict(outcome.headers)["okawari.error.code"] or b"").decode()


def _script(folder: Path, text: str) -> CommandOffer:
    path = folder / "a train"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return CommandOffer.of(f"'{path}' --now")


def test_a_request_is_written_down_and_announced_without_an_offer() -> None:
    written: list[tuple[RetrainRequested, str]] = []
    outcome = _outcome(written, None)
    ((request, source),) = written
    assert request == REQUEST
    assert source.startswith(f"{IDENTITY}/")
    assert outcome.topic == "model.retrain.recorded.v1"
    assert json.loads(outcome.value or b"") == {
        "request_id": IDENTITY,
        "model_name": "shapes",
        "offered_to": None,
    }


@pytest.mark.process
def test_the_command_gets_the_event_and_its_id(tmp_path: Path) -> None:
    outcome = _outcome([], _script(tmp_path, f'echo "$1 $2 $(cat)" > {tmp_path}/out'))
    assert json.loads(outcome.value or b"")["offered_to"] == "command"
    assert (tmp_path / "out").read_text() == f"--now {IDENTITY} {REQUEST.model_dump_json()}\n"


@pytest.mark.process
def test_a_command_that_fails_or_hangs_is_a_dead_letter_with_its_words(tmp_path: Path) -> None:
    failed = _outcome([], _script(tmp_path, "echo no room on gpu >&2; exit 3"))
    assert _code(failed) == "command_failed"
    said = bytes(dict(failed.headers)["__streams.errors.message"] or b"").decode()
    assert said.endswith("ended with 3: no room on gpu")
    assert _code(_outcome([], CommandOffer(("sh", "-c", "exec sleep 60"), 0.2))) == "command_timed_out"
    assert _code(_outcome([], CommandOffer(("/nowhere/train",)))) == "command_failed"


@pytest.mark.process
def test_what_a_command_leaves_running_is_left_and_what_is_stopped_is_offered_again(tmp_path: Path) -> None:
    begun = time.monotonic()
    outcome = _outcome([], _script(tmp_path, "sleep 20 & exit 0"))
    assert outcome.topic == "model.retrain.recorded.v1"
    assert time.monotonic() - begun < 15
    mark = tmp_path / "tried"
    again = _outcome([], _script(tmp_path, f"test -e {mark} && exit 0; touch {mark}; kill -TERM $$"))
    assert again.topic == "model.retrain.recorded.v1"


@pytest.mark.parametrize("line", ["", "  ", "'open"])
def test_a_command_without_words_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no words|closing quotation"):
        CommandOffer.of(line)


def test_a_webhook_is_asked_again_where_that_may_help() -> None:
    service: Any = ScriptedService(Unreachable("away"), Reply(503, b"busy"), Reply(204, b""))
    outcome = _outcome([], WebhookOffer(service))
    assert json.loads(outcome.value or b"")["offered_to"] == "webhook"
    assert [headers["X-Request-Id"] for _, headers in service.asked] == [IDENTITY] * 3
    assert json.loads(service.asked[0][0]) == json.loads(REQUEST.model_dump_json())
    gone: Any = ScriptedService(refused(410, "no_such_hook", transient=False))
    assert _code(_outcome([], WebhookOffer(gone))) == "no_such_hook"


def test_what_cannot_be_written_down_is_handed_to_nobody_until_it_is() -> None:
    fails = iter([True, True, False])
    offered: list[str] = []

    def record(request: RetrainRequested, source: str) -> None:
        if next(fails):
            raise NotRecorded("the disk is full")
        offered.append(f"recorded {source.split('/', maxsplit=1)[0]}")

    service: Any = ScriptedService(Reply(200, b""))
    outcome = _outcome(record, WebhookOffer(service))
    assert (outcome.topic, offered, len(service.asked)) == (
        "model.retrain.recorded.v1",
        [f"recorded {IDENTITY}"],
        1,
    )


@pytest.mark.parametrize("name", ["../x", "UP", "", "x" * 64, "a\n"])
def test_a_request_for_what_can_be_no_model_is_a_dead_letter(name: str) -> None:
    written: list[tuple[RetrainRequested, str]] = []
    outcome = _outcome(written, None, json.dumps({"model_name": name}).encode())
    assert (_code(outcome), written) == ("invalid_event", [])
