"""`okawari events`: registered pictures of a topic become vectors in Qdrant. Needs okawari[events]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming.dispatch import until_signal
from streaming.dispatcher import Dispatcher, DispatchFigures
from streaming.embedding_questions import EmbeddingQuestions
from streaming.event_shapes import EmbeddingGenerated, ImageRegistered
from streaming.fetch import ImageFetcher, UrlPolicy
from streaming.http_client import HttpInference
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_settings import KafkaSettings
from streaming.outcomes import OutcomeTopics
from streaming.retries import RetryPolicy
from streaming.vectors import VectorStore

GROUP = "okawari-events"
DLQ = "dlq.events"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """What is asked of whom. `model` makes the vectors; None: the service's default."""

    kafka: KafkaSettings
    url: str
    model: str | None
    urls: UrlPolicy
    vectors: VectorStore
    topic: str = ImageRegistered.topic
    dlq_topic: str = DLQ
    group: str = GROUP
    concurrency: int = 8
    retry_seconds: float = 600.0


class EventPipeline:
    """The parts of the pipeline; made and closed in one event loop."""

    def __init__(self, options: EventOptions) -> None:
        path = "/predict" if options.model is None else f"/predict?model={options.model}"
        self._client = HttpInference(options.url, connections=options.concurrency, path=path)
        self._images = ImageFetcher(options.urls, connections=options.concurrency)
        topics = OutcomeTopics("events", EmbeddingGenerated.topic, options.dlq_topic)
        questions = EmbeddingQuestions(self._images, self._client, options.vectors)
        self.dispatcher = Dispatcher(questions, topics, RetryPolicy(options.retry_seconds))
        self._options = options

    def pipeline(self) -> KafkaPipeline:
        """A new member of the group."""
        options = self._options
        return KafkaPipeline(
            options.kafka,
            self.dispatcher,
            topic=options.topic,
            group=options.group,
            concurrency=options.concurrency,
        )

    async def close(self) -> None:
        """Close all connections but the pipeline's own."""
        await self._images.close()
        await self._client.close()


async def run(options: EventOptions, report: Callable[[DispatchFigures], None] = lambda _: None) -> None:
    """Take events until a signal. Raises `KafkaException` where Kafka refuses for good."""
    events = EventPipeline(options)
    try:
        await until_signal(events.pipeline, events.dispatcher.figures, report)
    finally:
        await events.close()
