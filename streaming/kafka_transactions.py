"""Outcomes and the offsets behind them, written as one transaction; and calls that never return.

Fenced by the consumer group (KIP-98, KIP-447): a process that has lost a partition cannot write for it any
more. Needs okawari[stream].
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from streaming.messages import OutgoingRecord
from streaming.windows import PartitionWindow

logger = logging.getLogger("okawari.streaming")

Place = tuple[str, int]
_P = ParamSpec("_P")
_T = TypeVar("_T")
#: Most outcomes of a partition in one transaction.
_MOST = 2_000
#: Seconds for one call; for one while nothing is begun yet; between two transactions where one failed.
_SECONDS, _SHORT, _PAUSE = 30.0, 5.0, 1.0
#: Seconds after which a call that should have returned within `_SECONDS` never will.
_HANGS = 60.0
#: Seconds for which transactions may fail before the client is replaced.
_PATIENCE = 120.0
#: What only a person can put right.
FINAL = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError._UNKNOWN_TOPIC,
    }
)


class CallHangs(Exception):
    """A call of the Kafka client does not return: its thread, and so this process, is lost."""


class ClientCalls:
    """Threads for calls of the Kafka client, and which of them has not returned for too long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="okawari-kafka")
        #: When the call began that a thread is in.
        self._since: dict[int, float] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Within it this thread makes a call that returns within its timeout, or never."""
        thread = threading.get_ident()
        within = thread in self._since
        self._since[thread] = self._clock()
        try:
            yield
        finally:
            if within:
                self._since[thread] = self._clock()
            else:
                del self._since[thread]

    async def run(self, call: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Call it in a thread. Raises `CallHangs`: librdkafka may ignore a timeout (its issue #5456)."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, partial(call, *arguments, **named))
        while not (await asyncio.wait([running], timeout=_HANGS / 2))[0]:
            longest = self._clock() - min(list(self._since.values()), default=self._clock())
            if longest > _HANGS:
                raise CallHangs(f"no answer from the Kafka client for {longest:.0f} s")
        return running.result()

    def close(self) -> None:
        """Take no more calls."""
        self._threads.shutdown(wait=False)


class Transactions:
    """Writes for one member of a group. `lock` is held from the choice of what is written until it is.

    Who holds it keeps the partitions from going to another member meanwhile.
    """

    def __init__(self, properties: Mapping[str, Any], consumer: Consumer, calls: ClientCalls) -> None:
        self._producer = Producer(dict(properties))
        self._consumer = consumer
        self._calls = calls
        self._failing_since: float | None = None
        self._refused: KafkaException | None = None
        self.lock = threading.Lock()
        self.count = 0

    def begin(self, is_stopped: Callable[[], bool]) -> None:
        """Wait for the broker, until it is there or `is_stopped`. Raises `KafkaException`."""
        while not is_stopped():
            try:
                with self._calls.noted():
                    self._producer.init_transactions(_SHORT)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                logger.warning("waits for the broker: %s", error.args[0])

    def write(self, windows: Mapping[Place, PartitionWindow]) -> None:
        """All that is complete. Nothing of a transaction that is given up is seen: it is written later.

        Raises `KafkaException` where this client can write no more.
        """
        with self.lock:
            self._write(dict(windows))

    def _write(self, windows: Mapping[Place, PartitionWindow]) -> None:
        outcomes: list[OutgoingRecord] = []
        offsets: dict[Place, int] = {}
        for place, window in windows.items():
            completed, behind = window.completed(_MOST)
            if behind is not None:
                outcomes += completed
                offsets[place] = behind
        if not offsets:
            return
        member = self._consumer.memberid()
        group = self._consumer.consumer_group_metadata()
        # Who is no member would write unfenced, beside the one that has the partitions now.
        if not member or member != self._consumer.memberid():
            return
        moved = [TopicPartition(*place, behind) for place, behind in offsets.items()]
        try:
            with self._calls.noted():
                self._producer.begin_transaction()
            for outcome in outcomes:
                self._produce(outcome)
            self._retried(lambda: self._producer.send_offsets_to_transaction(moved, group, _SECONDS))
            self._retried(lambda: self._producer.commit_transaction(_SECONDS))
        except KafkaException as error:
            self._give_up(error)
            return
        self._failing_since = None
        self.count += 1
        for place, behind in offsets.items():
            windows[place].written(behind)

    def _produce(self, outcome: OutgoingRecord) -> None:
        headers = list[tuple[str, str | bytes | None]](outcome.headers)
        delivered = partial(self._delivered, outcome.topic)
        while True:
            try:
                self._producer.produce(
                    outcome.topic, outcome.value, outcome.key, headers=headers, on_delivery=delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, topic: str, error: KafkaError | None, _message: object) -> None:
        if error is not None and error.code() in FINAL:
            self._refused = KafkaException(KafkaError(error.code(), f"{topic}: {error.str()}"))

    def _retried(self, call: Callable[[], None]) -> None:
        """A call that must be made again until it is known what came of it. Raises what is final."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with self._calls.noted():
                    call()
                return
            except KafkaException as error:
                detail = error.args[0]
                if detail.txn_requires_abort() or not detail.retriable() or time.monotonic() > until:
                    raise
                logger.warning("tried again: %s", detail)

    def _give_up(self, error: KafkaException) -> None:
        """Abort the transaction. Raises where none can succeed any more, or none did for two minutes."""
        detail = error.args[0]
        logger.warning("a transaction was not written: %s", detail)
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if detail.fatal() or detail.code() in FINAL or now - self._failing_since > _PATIENCE:
            raise error
        self._retried(lambda: self._producer.abort_transaction(_SECONDS))
        if self._refused is not None:
            raise self._refused
        time.sleep(_PAUSE)
