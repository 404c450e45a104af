"""`okawari dispatch`: from Kafka to the service and back, each message exactly once.

Outcomes and the offset behind them are one transaction (KIP-98), fenced by the consumer group (KIP-447): a
process that has lost a partition cannot write for it any more. What a crash leaves is read again. Needs
okawari[stream].
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from streaming.dispatcher import Dispatcher
from streaming.kafka_records import incoming
from streaming.kafka_settings import KafkaSettings
from streaming.messages import IncomingRecord, OutgoingRecord
from streaming.windows import PartitionWindow

logger = logging.getLogger("okawari.streaming")

_Place = tuple[str, int]
_P = ParamSpec("_P")
_T = TypeVar("_T")
#: Seconds between two transactions, and most outcomes in one.
_INTERVAL, _MOST = 0.1, 2_000
#: Messages that are taken at once.
_TAKEN = 500
#: Seconds without room for messages, until the broker is asked for none: what it had sent is sent again then.
_FULL = 5.0
_SECONDS = 30.0
#: Seconds after which a call that should have returned within `_SECONDS` never will.
_HANGS = 60.0
#: Seconds for which transactions may fail before the process ends, for another one to begin anew.
_PATIENCE = 120.0
_FINAL = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)


class CallHangs(Exception):
    """A call of the Kafka client does not return: its thread, and so this process, is lost."""


class KafkaPipeline:
    """One member of the group. `run` ends after `stop`, or raises where it cannot go on.

    At most `concurrency` requests are under way, and eight times as many messages wait for their turn, for
    one before them or to be written. Messages are taken while others are written.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        dispatcher: Dispatcher,
        *,
        topics: Sequence[str],
        group: str,
        concurrency: int = 16,
        grace: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """On `stop` messages under way are waited for `grace` seconds; the rest is read again later."""
        self._dispatcher = dispatcher
        self._topics = list(topics)
        self._concurrency = concurrency
        self._window = 8 * concurrency
        self._places = asyncio.Semaphore(concurrency)
        self._grace = grace
        self._clock = clock
        self._consumer = Consumer(settings.consumer(group))
        self._producer = Producer(settings.producer(f"okawari-dispatch-{group}-{uuid4().hex}"))
        self._windows: dict[_Place, PartitionWindow] = {}
        self._tasks: dict[tuple[_Place, int], asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        #: None: partitions have come or gone since, of which some may be paused and some not.
        self._paused: bool | None = False
        self._failing_since: float | None = None
        self._fault: BaseException | None = None
        #: What was taken and is not yet begun.
        self._taken: list[Message] = []
        self._called_at: float | None = None
        self._written_at = 0.0
        self._writing: asyncio.Task[None] | None = None
        #: Held from the choice of what is written until it is; no partition goes to another member meanwhile.
        self._transaction = threading.Lock()
        self._full_since: float | None = None
        self.transactions = 0

    def stop(self) -> None:
        """Take no more messages. Called in the event loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Take messages until `stop`.

        Raises `KafkaException` where the broker refuses for good, `CallHangs` where only a new process helps.
        """
        await self._in_thread(self._retried, lambda: self._producer.init_transactions(_SECONDS))
        self._consumer.subscribe(
            self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        logger.info("takes messages of %s", ", ".join(self._topics))
        try:
            while not self._stopping.is_set():
                await self._turn()
            await self._finish()
        except CallHangs:
            raise
        except BaseException:
            await self._close()
            raise
        else:
            await self._close()

    async def _close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.to_thread(self._consumer.close)

    async def _in_thread(self, call: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Call it in a thread. Raises `CallHangs`: librdkafka may ignore a timeout (its issue #5456)."""
        running = asyncio.ensure_future(asyncio.to_thread(call, *arguments, **named))
        while not (await asyncio.wait([running], timeout=_HANGS / 2))[0]:
            since = self._called_at
            if since is not None and self._clock() - since > _HANGS:
                raise CallHangs(f"no answer from the Kafka client for {self._clock() - since:.0f} s")
        return running.result()

    async def _turn(self) -> None:
        if self._fault is not None:
            raise self._fault
        room = self._window - sum(map(len, list(self._windows.values())))
        if room >= self._concurrency:
            self._full_since = None
            await self._take_and_begin(min(room, _TAKEN), pausing=False)
        elif not self._is_full_for_long():
            await asyncio.sleep(_INTERVAL / 4)
        else:  # a member that asks for nothing is taken for dead
            await self._take_and_begin(1, pausing=True)
        if self._writing is None and self._clock() - self._written_at >= _INTERVAL:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._written)

    def _is_full_for_long(self) -> bool:
        now = self._clock()
        self._full_since = self._full_since or now
        return now - self._full_since > _FULL

    async def _take_and_begin(self, most: int, *, pausing: bool) -> None:
        self._pause(pausing)
        for message in await self._in_thread(self._take, most, self._patience()):
            self._begin(message)

    def _take(self, most: int, patience: float) -> list[Message]:
        """The messages that are there; at least one is waited for so long.

        Partitions may go to another member meanwhile: their messages are its business then.
        """
        self._taken = []
        while len(self._taken) < most:
            message = self._consumer.poll(0 if self._taken else patience)
            if message is None:
                break
            self._taken.append(message)
        return self._taken

    def _patience(self) -> float:
        """Seconds to wait for messages."""
        return _INTERVAL / 2 if self._tasks or any(list(self._windows.values())) else 5 * _INTERVAL

    def _pause(self, pausing: bool) -> None:
        if pausing == self._paused:
            return
        places = self._consumer.assignment()
        (self._consumer.pause if pausing else self._consumer.resume)(places)
        self._paused = pausing

    def _begin(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() in _FINAL:
                raise KafkaException(error)
            logger.warning("%s", error)
            return
        record = incoming(message)
        position = record.position
        place = (position.topic, position.partition)
        window = self._windows.setdefault(place, PartitionWindow())
        window.begin(position.offset)
        task = asyncio.ensure_future(self._dispatch(place, window, record))
        self._tasks[place, position.offset] = task
        task.add_done_callback(partial(self._ended, (place, position.offset)))

    def _ended(self, key: tuple[_Place, int], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def _dispatch(self, place: _Place, window: PartitionWindow, record: IncomingRecord) -> None:
        async with self._places:
            outcome = await self._dispatcher.outcome(record)
        if self._windows.get(place) is window:
            window.done(record.position.offset, outcome)

    async def _finish(self) -> None:
        """Write what comes within the grace."""
        self._pause(True)
        until = self._clock() + self._grace
        while self._tasks and self._clock() < until:
            await asyncio.wait(self._tasks.values(), timeout=_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            await self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()

    # --- transactions --------------------------------------------------------------------------

    async def _write(self) -> None:
        """One transaction with all that is complete, if there is any."""
        if any(window.ready for window in list(self._windows.values())):
            await self._in_thread(self._transact)
        self._written_at = self._clock()

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    def _transact(self) -> None:
        """Nothing of a transaction that is given up is seen: its outcomes are kept for the next one."""
        with self._transaction:
            self._transact_alone()

    def _transact_alone(self) -> None:
        outcomes: list[OutgoingRecord] = []
        offsets: dict[_Place, int] = {}
        windows = dict(self._windows)
        for place, window in windows.items():
            completed, behind = window.completed(_MOST)
            if behind is not None:
                outcomes += completed
                offsets[place] = behind
        member = self._consumer.memberid()
        group = self._consumer.consumer_group_metadata()
        # Who is no member would write unfenced, beside the one that has the partitions now (KIP-447).
        if not offsets or not member or member != self._consumer.memberid():
            return
        try:
            self._producer.begin_transaction()
            for outcome in outcomes:
                self._produce(outcome)
            moved = [TopicPartition(*place, behind) for place, behind in offsets.items()]
            self._retried(lambda: self._producer.send_offsets_to_transaction(moved, group, _SECONDS))
            self._retried(lambda: self._producer.commit_transaction(_SECONDS))
        except KafkaException as error:
            self._give_up(error)
            return
        self._failing_since = None
        self.transactions += 1
        for place, behind in offsets.items():
            windows[place].written(behind)

    def _produce(self, outcome: OutgoingRecord) -> None:
        headers = list[tuple[str, str | bytes | None]](outcome.headers)
        while True:
            try:
                self._producer.produce(outcome.topic, outcome.value, outcome.key, headers=headers)
                return
            except BufferError:
                self._producer.poll(_INTERVAL)

    def _retried(self, call: Callable[[], None]) -> None:
        """A call that must be made again until it is known what came of it. Raises what is final."""
        until = self._clock() + _PATIENCE
        while True:
            self._called_at = self._clock()
            try:
                call()
                return
            except KafkaException as error:
                detail = error.args[0]
                if detail.txn_requires_abort() or not detail.retriable() or self._clock() > until:
                    raise
                logger.warning("tried again: %s", detail)
            finally:
                self._called_at = None

    def _give_up(self, error: KafkaException) -> None:
        """Abort the transaction. Raises where none can succeed any more, or none did for two minutes."""
        detail = error.args[0]
        logger.warning("a transaction was not written: %s", detail)
        now = self._clock()
        self._failing_since = self._failing_since or now
        if detail.fatal() or now - self._failing_since > _PATIENCE:
            raise error
        self._retried(lambda: self._producer.abort_transaction(_SECONDS))

    # --- the group -----------------------------------------------------------------------------

    def _revoked(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        """Another member takes partitions over: write what is complete, forget the rest. Within `poll`."""
        with suppress(KafkaException):
            self._transact()
        self._lost(_consumer, places)

    def _lost(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        with self._transaction:
            self._forget(places)

    def _forget(self, places: list[TopicPartition]) -> None:
        for each in places:
            self._windows.pop((each.topic, each.partition), None)
        gone = {(each.topic, each.partition) for each in places}
        self._taken = [each for each in self._taken if (each.topic(), each.partition()) not in gone]
        for (place, _), task in list(self._tasks.items()):
            if place in gone:
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._paused = None

    def _assigned(self, _consumer: Consumer, _places: list[TopicPartition]) -> None:
        """Partitions come, not paused; those that were kept may be."""
        self._paused = None
