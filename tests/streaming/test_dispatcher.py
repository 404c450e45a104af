"""One message from its record to its result or its dead letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from streaming.dispatcher import Dispatcher
from streaming.image_questions import ImageQuestions
from streaming.messages import IncomingRecord, OutgoingRecord
from streaming.outcomes import MOST_VALUE, OutcomeTopics
from streaming.replies import Reply, Unreachable
from streaming.retries import RetryPolicy
from tests.streaming.fake_service import ANSWER, ScriptedService, answered, record, refused

TOPICS = OutcomeTopics("fruit", "inference.results.fruit", "dlq.inference.http", now=lambda: 1_700_000_000.5)
MESSAGE = {"bucket": "imagery-hot", "key": "a.jpg", "camera": "c1"}
VALUE = json.dumps(MESSAGE).encode()


class Clock:
    """Time that only waits let pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def _dispatch(
    service: ScriptedService, incoming: IncomingRecord, clock: Clock | None = None
) -> OutgoingRecord:
    time = clock or Clock()
    dispatcher = Dispatcher(
        ImageQuestions(service, TOPICS),
        TOPICS,
        RetryPolicy(seconds=10, first=1, longest=4),
        clock=lambda: time.now,
        sleep=time.sleep,
        chance=lambda: 1.0,
    )
    return asyncio.run(dispatcher.outcome(incoming))


def _headers(outcome: OutgoingRecord) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in outcome.headers}


def test_a_result_says_what_was_asked_who_answered_and_how_long_it_took() -> None:
    service = ScriptedService(answered(label="ok", score=0.9))
    outcome = _dispatch(service, record(VALUE, headers=(("traceparent", b"00-1-2-01"), ("x", b"y"))))
    assert (outcome.topic, outcome.key) == ("inference.results.fruit", b"c1")
    assert json.loads(outcome.value or b"") == {
        "id": "imagery.new.fruit-2-7",
        "team": "fruit",
        "input": MESSAGE,
        "answer": ANSWER | {"label": "ok", "score": 0.9},
        "model": "fruit",
        "model_version": "v3",
        "model_digest": "sha256:ab",
        "generation": 2,
        "attempts": 1,
        "dispatch_ms": 0.0,
        "answered_ts_ms": 1_700_000_000_500,
    }
    assert _headers(outcome) == {
        "okawari.id": "imagery.new.fruit-2-7",
        "okawari.model": "fruit",
        "okawari.model_version": "v3",
        "traceparent": "00-1-2-01",
    }
    ((body, headers),) = service.asked
    assert json.loads(body) == {"bucket": "imagery-hot", "key": "a.jpg"}
    assert headers["X-Request-Id"] == "imagery.new.fruit-2-7"
    assert headers["traceparent"] == "00-1-2-01"


def test_extra_is_handed_on_and_a_message_without_camera_keeps_its_key() -> None:
    service = ScriptedService(answered())
    value = json.dumps({"bucket": "b", "key": "k", "extra": {"row": 1}}).encode()
    outcome = _dispatch(service, record(value, key=b"row-1"))
    assert outcome.key == b"row-1"
    assert json.loads(service.asked[0][0])["extra"] == {"row": 1}


def test_what_cannot_be_read_is_a_dead_letter_at_once() -> None:
    service = ScriptedService(answered())
    outcome = _dispatch(service, record(b"no json", key=b"k", headers=(("source", b"s"),)))
    assert (outcome.topic, outcome.value, outcome.key) == ("dlq.inference.http", b"no json", b"k")
    headers = _headers(outcome)
    assert headers["source"] == "s"
    assert headers["__streams.errors.exception"] == "okawari.invalid.invalid_message"
    assert "no JSON" in headers["__streams.errors.message"]
    assert (headers["__streams.errors.topic"], headers["__streams.errors.partition"]) == (
        "imagery.new.fruit",
        "2",
    )
    assert headers["__streams.errors.offset"] == "7"
    assert (headers["okawari.team"], headers["okawari.attempts"]) == ("fruit", "0")
    assert service.asked == []


def test_a_lasting_failure_is_asked_once() -> None:
    service = ScriptedService(refused(404, "object_not_found", transient=False))
    headers = _headers(_dispatch(service, record(VALUE)))
    assert len(service.asked) == 1
    assert (headers["okawari.error.class"], headers["okawari.error.code"]) == (
        "permanent",
        "object_not_found",
    )
    assert headers["okawari.attempts"] == "1"


def test_a_passing_failure_is_asked_again_until_it_is_answered() -> None:
    clock = Clock()
    service = ScriptedService(
        Unreachable("nobody listens"),
        refused(429, "overloaded", transient=True, retry_after=3),
        answered(),
    )
    outcome = _dispatch(service, record(VALUE), clock)
    document: dict[str, Any] = json.loads(outcome.value or b"")
    assert (document["attempts"], document["dispatch_ms"]) == (3, 4_000.0)
    assert clock.waits == [1, 3]


def test_it_is_given_up_when_the_time_is_over() -> None:
    clock = Clock()
    service = ScriptedService(refused(503, "shutting_down", transient=True))
    headers = _headers(_dispatch(service, record(VALUE), clock))
    assert (headers["okawari.error.class"], headers["okawari.error.code"]) == ("exhausted", "shutting_down")
    assert clock.waits == [1, 2, 4]
    assert headers["okawari.attempts"] == "4"


def test_who_waited_for_a_place_until_the_time_was_over_asks_no_more() -> None:
    time = Clock()

    class Slow(ScriptedService):
        async def infer(self, body: bytes, headers: Mapping[str, str]) -> Reply:
            await asyncio.sleep(0)
            time.now += 4.0
            return await super().infer(body, headers)

    service = Slow(*[refused(503, "no_model", transient=True)] * 20)
    dispatcher = Dispatcher(
        ImageQuestions(service, TOPICS),
        TOPICS,
        RetryPolicy(seconds=10, first=0.01, longest=0.01),
        concurrency=1,
        clock=lambda: time.now,
        sleep=time.sleep,
    )

    async def all_of_them() -> list[OutgoingRecord]:
        return await asyncio.gather(*(dispatcher.outcome(record(VALUE)) for _ in range(3)))

    outcomes = asyncio.run(all_of_them())
    assert {outcome.topic for outcome in outcomes} == {TOPICS.dead_letters}
    assert time.now - 100.0 < 10 + 4 + 1
    assert len(service.asked) == 3


def test_a_result_that_no_broker_takes_is_a_dead_letter() -> None:
    outcome = _dispatch(ScriptedService(answered(mask="x" * MOST_VALUE)), record(VALUE))
    assert outcome.value == VALUE
    assert _headers(outcome)["okawari.error.code"] == "result_too_large"


def test_a_message_that_no_broker_takes_twice_stays_in_its_place() -> None:
    outcome = _dispatch(ScriptedService(answered()), record(b"x" * (MOST_VALUE + 1)))
    assert outcome.value is None
    assert _headers(outcome)["okawari.value_left_out"] == str(MOST_VALUE + 1)


def test_headers_of_an_earlier_death_are_replaced_and_redriving_is_counted_on() -> None:
    old = (
        ("__streams.errors.exception", b"old"),
        ("okawari.error.code", b"old"),
        ("okawari.redriven", b"2"),
        ("kept", b"yes"),
    )
    outcome = _dispatch(ScriptedService(answered()), record(b"", headers=old))
    names = [name for name, _ in outcome.headers]
    assert len(names) == len(set(names))
    headers = _headers(outcome)
    assert (headers["kept"], headers["okawari.redriven"]) == ("yes", "2")
    assert headers["okawari.error.code"] == "invalid_message"


@pytest.mark.parametrize("value", ["ü", "\x00"])
def test_odd_trace_headers_do_no_harm(value: str) -> None:
    service = ScriptedService(answered())
    outcome = _dispatch(service, record(VALUE, headers=(("traceparent", value.encode()),)))
    assert outcome.topic == "inference.results.fruit"
    assert all(text.isprintable() and text.isascii() for text in service.asked[0][1].values())


def test_figures_count_outcomes() -> None:
    service = ScriptedService(answered())
    dispatcher = Dispatcher(ImageQuestions(service, TOPICS), TOPICS)

    async def both() -> None:
        await asyncio.gather(*(dispatcher.outcome(record(value)) for value in (VALUE, b"", VALUE)))

    asyncio.run(both())
    figures = dispatcher.figures
    assert (figures.results, figures.dead_letters, figures.in_flight) == (2, 1, 0)


def test_a_fault_of_ours_is_a_dead_letter_and_no_message_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is logged goes with the test's report, which its process can only hand on as UTF-8.
    monkeypatch.setattr("streaming.dispatcher.logger.disabled", True)

    class Broken(ScriptedService):
        async def infer(self, body: bytes, headers: Any) -> Any:
            raise LookupError("half a character: \ud800")

    outcome = _dispatch(Broken(), record(VALUE))
    headers = _headers(outcome)
    assert (outcome.value, headers["okawari.error.code"]) == (VALUE, "dispatcher_error")
    assert "LookupError" in headers["__streams.errors.message"]


def test_a_letter_that_would_be_too_large_leaves_out_what_is_long() -> None:
    much = b"x" * (MOST_VALUE // 2)
    outcome = _dispatch(
        ScriptedService(answered()), record(much, key=b"k", headers=(("a", much), ("b", b"c")))
    )
    assert (outcome.value, outcome.key) == (None, b"k")
    assert _headers(outcome)["b"] == "c"
    outcome = _dispatch(
        ScriptedService(answered()), record(b"", key=much, headers=(("a", much), ("b", b"c")))
    )
    assert outcome.key is None
    assert set(_headers(outcome)) & {"a", "b"} == set()
    assert _headers(outcome)["okawari.id"] == "imagery.new.fruit-2-7"
