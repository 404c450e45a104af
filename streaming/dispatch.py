"""Runs a dispatcher on Kafka until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from streaming.dispatcher import Dispatcher, DispatchFigures, TraceRecord
from streaming.http_client import HttpInference
from streaming.image_questions import ImageQuestions
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_settings import KafkaSettings
from streaming.kafka_transactions import FINAL, CallHangs
from streaming.outcomes import OutcomeTopics
from streaming.retries import RetryPolicy

logger = logging.getLogger("okawari.streaming")

_REPORT_SECONDS = 10.0
#: Pipelines one after the other that write nothing, until it is given up.
_IN_VAIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOptions:
    """What is dispatched where. `timeout` is for one answer, `retry_seconds` for all tries of a message.

    `token` is the bearer token for the service, where it needs one.
    """

    kafka: KafkaSettings
    team: str
    url: str
    input_topic: str
    output_topic: str
    dlq_topic: str
    group: str
    concurrency: int = 16
    timeout: float = 35.0
    retry_seconds: float = 600.0
    token: str | None = field(default=None, repr=False)


def window_of(concurrency: int) -> int:
    """Messages of a partition under way: enough to ask for while others wait to be written."""
    return 8 * concurrency


async def run(
    options: DispatchOptions,
    report: Callable[[DispatchFigures], None] = lambda _: None,
    traced: TraceRecord = nullcontext,
) -> None:
    """Dispatch until a signal. Raises `KafkaException` where Kafka refuses for good.

    `report` gets the figures every ten seconds, and at the end.
    """
    client = HttpInference(
        options.url, connections=options.concurrency, seconds=options.timeout, token=options.token
    )
    topics = OutcomeTopics(options.team, options.output_topic, options.dlq_topic)
    dispatcher = Dispatcher(
        ImageQuestions(client, topics),
        topics,
        RetryPolicy(options.retry_seconds),
        concurrency=options.concurrency,
        traced=traced,
    )
    try:
        await until_signal(
            lambda: KafkaPipeline(
                options.kafka,
                dispatcher,
                topics=[options.input_topic],
                group=options.group,
                window=window_of(options.concurrency),
            ),
            dispatcher.figures,
            report,
        )
    finally:
        await client.close()


def _as_a_new_process() -> None:
    """Start the same command in this process's place: a thread that hangs ends with it, and nothing else."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


async def until_signal(
    make: Callable[[], KafkaPipeline],
    figures: DispatchFigures,
    report: Callable[[DispatchFigures], None],
) -> None:
    """Run a pipeline until SIGTERM or SIGINT, and report its figures.

    One that Kafka has fenced, as after a long absence of the broker, is replaced: what it had not written is
    read again. One whose client hangs is replaced with the whole process. Raises `KafkaException` where one
    after the other writes nothing.
    """
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    reporting = asyncio.create_task(_reporting(figures, report))
    in_vain = 0
    try:
        while not stopping.is_set():
            pipeline = make()
            watching = asyncio.create_task(_stop_when(stopping, pipeline))
            try:
                await pipeline.run()
            except KafkaException as error:
                if error.args[0].code() in FINAL:
                    raise
                in_vain = 0 if pipeline.transactions else in_vain + 1
                if in_vain == _IN_VAIN:
                    raise
                logger.warning("begins anew: %s", error.args[0])
                await asyncio.sleep(max(1, min(in_vain, 5)))
            except CallHangs as error:
                report(figures)
                if stopping.is_set():
                    os._exit(0)  # what it had begun is read again
                logger.error("begins anew, as a new process: %s", error)
                _as_a_new_process()
            finally:
                watching.cancel()
    finally:
        reporting.cancel()
        report(figures)


async def _stop_when(stopping: asyncio.Event, pipeline: KafkaPipeline) -> None:
    await stopping.wait()
    pipeline.stop()


async def _reporting(figures: DispatchFigures, report: Callable[[DispatchFigures], None]) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        report(figures)
