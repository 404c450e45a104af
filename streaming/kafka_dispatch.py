"""`okawari dispatch`: from Kafka to the service and back, each message exactly once.

What a crash leaves is read again. Needs okawari[stream].
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streaming.dispatcher import Dispatcher
from streaming.kafka_records import incoming
from streaming.kafka_settings import KafkaSettings
from streaming.kafka_transactions import FINAL, CallHangs, ClientCalls, Place, Transactions
from streaming.messages import IncomingRecord
from streaming.windows import PartitionWindow

logger = logging.getLogger("okawari.streaming")

#: Seconds between two transactions.
_INTERVAL = 0.1
#: Messages that are taken at once.
_TAKEN = 500
#: Seconds without room for messages of a partition, until the broker is asked for none: what it had sent is
#: sent again then.
_FULL = 5.0


class KafkaPipeline:
    """One member of the group. `run` ends after `stop`, or raises where it cannot go on.

    Of each partition at most `window` messages are under way or wait to be written, so that one that is
    tried for long holds up its own partition alone. Messages are taken while others are written.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        dispatcher: Dispatcher,
        *,
        topics: Sequence[str],
        group: str,
        window: int = 128,
        grace: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """On `stop` messages under way are waited for `grace` seconds; the rest is read again later."""
        self._dispatcher = dispatcher
        self._topics = list(topics)
        self._window = window
        self._grace = grace
        self._clock = clock
        self._calls = ClientCalls(clock)
        self._consumer = Consumer(settings.consumer(group))
        properties = settings.producer(f"okawari-dispatch-{group}-{uuid4().hex}")
        self._transactions = Transactions(properties, self._consumer, self._calls)
        self._windows: dict[Place, PartitionWindow] = {}
        self._tasks: dict[tuple[Place, int], asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        #: Partitions without room, since when.
        self._full: dict[Place, float] = {}
        #: Partitions of which nothing is asked; None: some have come or gone since.
        self._held: set[Place] | None = set()
        self._fault: BaseException | None = None
        self._written_at = 0.0
        self._writing: asyncio.Task[None] | None = None
        #: What was taken and is not yet begun.
        self._taken: list[Message] = []

    @property
    def transactions(self) -> int:
        """How many it has written."""
        return self._transactions.count

    def stop(self) -> None:
        """Take no more messages. Called in the event loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Take messages until `stop`.

        Raises `KafkaException` where the broker refuses for good, `CallHangs` where only a new process helps.
        """
        try:
            await self._calls.run(self._transactions.begin, self._stopping.is_set)
            self._consumer.subscribe(
                self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            logger.info("takes messages of %s", ", ".join(self._topics))
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
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if isinstance(self._fault, CallHangs):
            raise self._fault
        await self._calls.run(self._close_consumer)
        self._calls.close()

    def _close_consumer(self) -> None:
        with self._calls.noted():
            self._consumer.close()

    async def _turn(self) -> None:
        if self._fault is not None:
            raise self._fault
        now = self._clock()
        rooms = {place: self._window - len(window) for place, window in list(self._windows.items())}
        self._full = {
            place: self._full.get(place, now) for place, room in rooms.items() if room < self._window // 4
        }
        held = {place for place, since in self._full.items() if now - since > _FULL}
        if held == set(self._full):  # a member that asks for nothing is taken for dead
            self._hold(held)
            most = min([_TAKEN, *(room for place, room in rooms.items() if place not in held)])
            for message in await self._calls.run(self._take, most, self._patience()):
                self._begin(message)
        else:
            await asyncio.sleep(_INTERVAL / 4)
        if self._writing is None and self._clock() - self._written_at >= _INTERVAL:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._written)

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

    def _hold(self, held: set[Place]) -> None:
        """Ask for nothing of these partitions, and for all others."""
        if held == self._held:
            return
        assigned = self._consumer.assignment()
        for ask, places in (
            (self._consumer.pause, [each for each in assigned if _place(each) in held]),
            (self._consumer.resume, [each for each in assigned if _place(each) not in held]),
        ):
            if places:
                ask(places)
        self._held = held

    def _begin(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() in FINAL:
                raise KafkaException(error)
            logger.warning("%s", error)
            return
        record = incoming(message)
        position = record.position
        place = (position.topic, position.partition)
        window = self._windows.setdefault(place, PartitionWindow())
        if not window.begin(position.offset):
            logger.warning("%s has begun anew: what it had before is left", position.topic)
            self._forget([TopicPartition(*place)])
            window = self._windows[place] = PartitionWindow()
            window.begin(position.offset)
        task = asyncio.ensure_future(self._dispatch(place, window, record))
        self._tasks[place, position.offset] = task
        task.add_done_callback(partial(self._ended, (place, position.offset)))

    def _ended(self, key: tuple[Place, int], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        self._keep_fault(task)

    def _keep_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def _dispatch(self, place: Place, window: PartitionWindow, record: IncomingRecord) -> None:
        outcome = await self._dispatcher.outcome(record)
        if self._windows.get(place) is window:
            window.done(record.position.offset, outcome)

    async def _write(self) -> None:
        """One transaction with all that is complete, if there is any."""
        if any(window.ready for window in list(self._windows.values())):
            await self._calls.run(self._transactions.write, self._windows)
        self._written_at = self._clock()

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        self._keep_fault(task)

    async def _finish(self) -> None:
        """Write what comes within the grace."""
        self._hold({_place(each) for each in self._consumer.assignment()})
        until = self._clock() + self._grace
        while self._tasks and self._clock() < until:
            await asyncio.wait(self._tasks.values(), timeout=_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            await self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()

    # --- the group; these are called within `poll` and `close` -------------------------------------

    def _revoked(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        """Another member takes partitions over: write what is complete, forget the rest."""
        with suppress(KafkaException):
            self._transactions.write(self._windows)
        self._lost(_consumer, places)

    def _lost(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        with self._transactions.lock:
            self._forget(places)

    def _forget(self, places: list[TopicPartition]) -> None:
        gone = {_place(each) for each in places}
        for place in gone:
            self._windows.pop(place, None)
        self._taken = [each for each in self._taken if (each.topic(), each.partition()) not in gone]
        for (place, _), task in list(self._tasks.items()):
            if place in gone:
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._held = None

    def _assigned(self, _consumer: Consumer, _places: list[TopicPartition]) -> None:
        """Partitions come that are not held; those that were kept may be."""
        self._held = None


def _place(partition: TopicPartition) -> Place:
    return partition.topic, partition.partition
