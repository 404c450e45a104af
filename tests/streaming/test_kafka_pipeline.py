"""What the pipeline does when partitions come and go; the broker is played here, and real end to end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streaming import kafka_dispatch, kafka_transactions
from streaming.dispatcher import Dispatcher
from streaming.http_client import HttpInference
from streaming.image_questions import ImageQuestions
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_records import incoming
from streaming.kafka_settings import KafkaSettings
from streaming.kafka_transactions import CallHangs, ClientCalls
from streaming.messages import OutgoingRecord
from streaming.outcomes import OutcomeTopics
from streaming.windows import PartitionWindow
from tests.streaming.fake_service import ScriptedService, answered

TOPICS = OutcomeTopics("t", "results", "letters")


class _Played:
    """A client that notes what is paused and what is written; all that is begun is committed."""

    def __init__(self, *_: Any) -> None:
        self.assigned: list[TopicPartition] = []
        self.paused: set[int] = set()
        self.member = "m-1"
        self.moved: list[tuple[int, int]] = []

    def memberid(self) -> str:
        return self.member

    def consumer_group_metadata(self) -> str:
        return self.member

    def begin_transaction(self) -> None: ...

    def produce(self, *_: Any, **__: Any) -> None: ...

    def send_offsets_to_transaction(self, moved: list[TopicPartition], *_: Any) -> None:
        self.moved += [(each.partition, each.offset) for each in moved]

    def commit_transaction(self, _seconds: float) -> None: ...

    def assignment(self) -> list[TopicPartition]:
        return self.assigned

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {each.partition for each in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {each.partition for each in places}


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> KafkaPipeline:
    """A pipeline without a broker."""
    monkeypatch.setattr(kafka_dispatch, "Consumer", _Played)
    monkeypatch.setattr(kafka_transactions, "Producer", _Played)
    dispatcher = Dispatcher(ImageQuestions(ScriptedService(answered()), TOPICS), TOPICS)
    return KafkaPipeline(KafkaSettings("nowhere"), dispatcher, topics=["in"], group="g")


@pytest.mark.parametrize("event", ["_assigned", "_revoked", "_lost"])
def test_a_partition_that_was_paused_is_read_again_after_others_came_or_went(
    pipeline: KafkaPipeline, event: str
) -> None:
    consumer: Any = pipeline._consumer
    consumer.assigned = [TopicPartition("in", 0), TopicPartition("in", 1)]
    pipeline._hold({("in", 0), ("in", 1)})
    assert consumer.paused == {0, 1}
    getattr(pipeline, event)(consumer, [TopicPartition("in", 1)])
    consumer.assigned = [TopicPartition("in", 0)]
    pipeline._hold(set())
    assert 0 not in consumer.paused


def test_nothing_is_asked_twice(pipeline: KafkaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer: Any = pipeline._consumer
    consumer.assigned = [TopicPartition("in", 0)]
    pipeline._hold({("in", 0)})
    monkeypatch.setattr(consumer, "pause", None)
    pipeline._hold({("in", 0)})


def test_a_partition_whose_first_message_takes_long_is_held_and_no_other(pipeline: KafkaPipeline) -> None:
    consumer: Any = pipeline._consumer
    consumer.assigned = [TopicPartition("in", 0), TopicPartition("in", 1)]
    now = [100.0]
    pipeline._clock = lambda: now[0]
    pipeline._window = 4
    window = pipeline._windows["in", 0] = PartitionWindow()
    for offset in range(4):
        window.begin(offset)
    asked: list[int] = []
    pipeline._take = lambda most, _: asked.append(most) or []  # type: ignore[func-returns-value, method-assign]
    asyncio.run(pipeline._turn())
    assert (asked, consumer.paused) == ([], set())
    now[0] += 6
    asyncio.run(pipeline._turn())
    assert (asked, consumer.paused) == ([500], {0})
    for offset in range(4):
        window.done(offset, OutgoingRecord("results", b"{}", None, ()))
    window.written(4)
    asyncio.run(pipeline._turn())
    assert (asked, consumer.paused) == ([500, 4], set())


def _completed(pipeline: KafkaPipeline, partition: int) -> None:
    window = pipeline._windows.setdefault(("in", partition), PartitionWindow())
    window.begin(7)
    window.done(7, OutgoingRecord("results", b"{}", None, ()))


def test_who_is_no_member_any_more_writes_nothing(pipeline: KafkaPipeline) -> None:
    consumer: Any = pipeline._consumer
    producer: Any = pipeline._transactions._producer
    _completed(pipeline, 0)
    consumer.member = ""
    pipeline._transactions.write(pipeline._windows)
    assert producer.moved == []
    consumer.member = "m-2"
    pipeline._transactions.write(pipeline._windows)
    assert producer.moved == [(0, 8)]


def test_a_partition_goes_to_nobody_while_its_outcomes_are_written(pipeline: KafkaPipeline) -> None:
    consumer: Any = pipeline._consumer
    producer: Any = pipeline._transactions._producer
    _completed(pipeline, 0)
    committing, may_commit = threading.Event(), threading.Event()

    def commit(_seconds: float) -> None:
        committing.set()
        may_commit.wait(30)

    producer.commit_transaction = commit
    writing = threading.Thread(target=pipeline._transactions.write, args=(pipeline._windows,))
    losing = threading.Thread(target=pipeline._lost, args=(consumer, [TopicPartition("in", 0)]))
    writing.start()
    assert committing.wait(30)
    losing.start()
    losing.join(0.2)
    assert losing.is_alive()
    may_commit.set()
    losing.join(30)
    writing.join(30)
    pipeline._transactions.write(pipeline._windows)
    assert (producer.moved, pipeline._windows) == ([(0, 8)], {})


class _Taken:
    """A message, as far as it is looked at."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def topic(self) -> str:
        return "in"

    def partition(self) -> int:
        return self._partition


def test_what_was_taken_of_a_partition_that_goes_to_another_member_is_left_to_it(
    pipeline: KafkaPipeline,
) -> None:
    kept, gone = _Taken(0), _Taken(1)
    polls = iter([kept, gone])
    consumer: Any = pipeline._consumer

    def poll(_seconds: float) -> _Taken | None:
        message = next(polls, None)
        if message is None:
            pipeline._lost(consumer, [TopicPartition("in", 1)])
        return message

    consumer.poll = poll
    assert pipeline._take(10, 0) == [kept]


def test_a_call_that_never_returns_is_known_from_one_that_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_transactions, "_HANGS", 0.2)
    calls, released = ClientCalls(), threading.Event()

    def hang() -> None:
        with calls.noted():
            released.wait(60)

    async def hangs() -> None:
        try:
            with pytest.raises(CallHangs, match="no answer from the Kafka client"):
                await calls.run(hang)
        finally:
            released.set()

    asyncio.run(hangs())
    asyncio.run(ClientCalls().run(threading.Event().wait, 0.5))


def test_a_topic_that_takes_nothing_ends_the_pipeline_with_its_name(pipeline: KafkaPipeline) -> None:
    producer: Any = pipeline._transactions._producer
    _completed(pipeline, 0)

    def commit(_seconds: float) -> None:
        pipeline._transactions._delivered("results", KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
        raise KafkaException(KafkaError(KafkaError._PURGE_QUEUE))

    producer.commit_transaction = commit
    producer.abort_transaction = lambda _seconds: None
    with pytest.raises(KafkaException, match="results: "):
        pipeline._transactions.write(pipeline._windows)


@contextmanager
def _script(text: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """A Python process of the checkout, what it writes, and its errors."""
    root = Path(kafka_dispatch.__file__).parents[1]
    command = [sys.executable, "-c", text, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        yield process, process.stdout, process.stderr


_HANGING = """
import asyncio, pathlib, sys
from streaming.dispatch import until_signal
from streaming.dispatcher import DispatchFigures
from streaming.kafka_transactions import CallHangs

begun = pathlib.Path(sys.argv[1])

class Pipeline:
    transactions = 0
    def __init__(self):
        self.stopped = asyncio.Event()
    def stop(self):
        self.stopped.set()
    async def run(self):
        first = not begun.exists()
        begun.write_text("begun")
        print("begun", flush=True)
        if first:
            raise CallHangs("for a minute")
        await self.stopped.wait()

asyncio.run(until_signal(Pipeline, DispatchFigures(), lambda _: None))
"""


@pytest.mark.process
def test_a_client_that_hangs_is_left_with_its_process(tmp_path: Path) -> None:
    with _script(_HANGING, str(tmp_path / "begun")) as (process, written, errors):
        assert [written.readline() for _ in range(2)] == ["begun\n"] * 2
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
        assert "begins anew, as a new process: for a minute" in errors.read()


_STOPPED_WHILE_IT_HANGS = """
import asyncio
from streaming.dispatch import until_signal
from streaming.dispatcher import DispatchFigures
from streaming.kafka_transactions import CallHangs

class Pipeline:
    transactions = 0
    def __init__(self):
        self.stopped = asyncio.Event()
    def stop(self):
        self.stopped.set()
    async def run(self):
        print("begun", flush=True)
        await self.stopped.wait()
        raise CallHangs("for a minute")

asyncio.run(until_signal(Pipeline, DispatchFigures(), lambda _: None))
"""


@pytest.mark.process
def test_a_client_that_hangs_does_not_undo_a_stop() -> None:
    with _script(_STOPPED_WHILE_IT_HANGS) as (process, written, errors):
        assert written.readline() == "begun\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
        assert (written.read(), "begins anew" in errors.read()) == ("", False)


class _OddHeaders(_Taken):
    """A message whose headers the client cannot make texts of."""

    def key(self) -> None: ...

    def offset(self) -> int:
        return 3

    def value(self) -> bytes:
        return b"{}"

    def headers(self) -> None:
        raise SystemError("a name that is no UTF-8")


def test_a_message_whose_headers_cannot_be_read_is_one_without() -> None:
    message: Any = _OddHeaders(1)
    record = incoming(message)
    assert (record.position.id, record.value, record.headers) == ("in-1-3", b"{}", ())


def test_of_a_url_neither_password_nor_query_is_shown() -> None:
    async def origin() -> str:
        client = HttpInference("http://ana:secret@h.example:8/hooks?token=t", connections=1, path="")
        await client.close()
        return client.origin

    assert asyncio.run(origin()) == "http://h.example:8"
