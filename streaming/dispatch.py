"""Runs a dispatcher on Kafka until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

from streaming.dispatcher import Dispatcher, DispatchFigures
from streaming.http_client import HttpInference
from streaming.image_questions import ImageQuestions
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_settings import KafkaSettings
from streaming.outcomes import OutcomeTopics
from streaming.retries import RetryPolicy

logger = logging.getLogger("okawari.streaming")

_REPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOptions:
    """What is dispatched where. `timeout` is for one answer, `retry_seconds` for all tries of a message."""

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


async def run(options: DispatchOptions, report: Callable[[DispatchFigures], None] = lambda _: None) -> None:
    """Dispatch until a signal. Raises `KafkaException` where Kafka refuses for good.

    `report` gets the figures every ten seconds, and at the end.
    """
    client = HttpInference(options.url, connections=options.concurrency, seconds=options.timeout)
    topics = OutcomeTopics(options.team, options.output_topic, options.dlq_topic)
    dispatcher = Dispatcher(ImageQuestions(client, topics), topics, RetryPolicy(options.retry_seconds))
    pipeline = KafkaPipeline(
        options.kafka,
        dispatcher,
        topic=options.input_topic,
        group=options.group,
        concurrency=options.concurrency,
    )
    try:
        await until_signal(pipeline, dispatcher.figures, report)
    finally:
        await client.close()


async def until_signal(
    pipeline: KafkaPipeline, figures: DispatchFigures, report: Callable[[DispatchFigures], None]
) -> None:
    """Run a pipeline until SIGTERM or SIGINT, and report its figures."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pipeline.stop)
    reporting = asyncio.create_task(_reporting(figures, report))
    try:
        await pipeline.run()
    finally:
        reporting.cancel()
        report(figures)


async def _reporting(figures: DispatchFigures, report: Callable[[DispatchFigures], None]) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        report(figures)
