"""`okawari events`: events of two topics become vectors and records. Needs okawari[events]."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from streaming.dispatch import until_signal, window_of
from streaming.dispatcher import Dispatcher, DispatchFigures, Question, ReadQuestion, TraceRecord
from streaming.embedding_questions import EmbeddingQuestions
from streaming.event_shapes import EmbeddingGenerated, ImageRegistered, RetrainRequested
from streaming.fetch import ImageFetcher, UrlPolicy
from streaming.http_client import HttpInference
from streaming.kafka_dispatch import KafkaPipeline
from streaming.kafka_settings import KafkaSettings
from streaming.messages import IncomingRecord
from streaming.outcomes import OutcomeTopics
from streaming.retrain_questions import CommandOffer, RecordRequest, RetrainQuestions, WebhookOffer
from streaming.retries import RetryPolicy
from streaming.vectors import VectorStore

GROUP = "okawari-events"
DLQ = "dlq.events"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """Registered pictures: whom the service at `url` asks for a vector (None: its default model).

    `token` is the bearer token for the service, where it needs one.
    """

    url: str
    model: str | None
    urls: UrlPolicy
    vectors: VectorStore
    topic: str = ImageRegistered.topic
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """Requests to train anew: who writes them down, and to what they are offered, at most one of both."""

    record: RecordRequest
    command: CommandOffer | None = None
    webhook: str | None = None
    topic: str = RetrainRequested.topic


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """What is taken, None: not that."""

    kafka: KafkaSettings
    embeddings: EmbeddingOptions | None = None
    retraining: RetrainOptions | None = None
    dlq_topic: str = DLQ
    group: str = GROUP
    concurrency: int = 8
    retry_seconds: float = 600.0


class EventPipeline:
    """The parts of the pipeline; made and closed in one event loop."""

    def __init__(self, options: EventOptions, traced: TraceRecord = nullcontext) -> None:
        self._options = options
        self._closing: list[HttpInference | ImageFetcher] = []
        self._read: dict[str, ReadQuestion] = {}
        if options.embeddings is not None:
            self._read[options.embeddings.topic] = self._embeddings(options.embeddings)
        if options.retraining is not None:
            self._read[options.retraining.topic] = self._retraining(options.retraining)
        topics = OutcomeTopics("events", EmbeddingGenerated.topic, options.dlq_topic)
        self.dispatcher = Dispatcher(
            self._question,
            topics,
            RetryPolicy(options.retry_seconds),
            concurrency=options.concurrency,
            traced=traced,
        )

    def _question(self, record: IncomingRecord) -> Question:
        return self._read[record.position.topic](record)

    def _embeddings(self, options: EmbeddingOptions) -> ReadQuestion:
        path = "/predict" if options.model is None else f"/predict?model={options.model}"
        client = HttpInference(
            options.url, connections=self._options.concurrency, path=path, token=options.token
        )
        images = ImageFetcher(options.urls, connections=self._options.concurrency)
        self._closing += [images, client]
        return EmbeddingQuestions(images, client, options.vectors)

    def _retraining(self, options: RetrainOptions) -> ReadQuestion:
        if options.webhook is None:
            return RetrainQuestions(options.record, options.command)
        client = HttpInference(options.webhook, connections=self._options.concurrency, path="")
        self._closing.append(client)
        return RetrainQuestions(options.record, WebhookOffer(client))

    def pipeline(self) -> KafkaPipeline:
        """A new member of the group."""
        options = self._options
        return KafkaPipeline(
            options.kafka,
            self.dispatcher,
            topics=list(self._read),
            group=options.group,
            window=window_of(options.concurrency),
        )

    async def close(self) -> None:
        """Close all connections but the pipeline's own."""
        for each in self._closing:
            await each.close()


async def run(
    options: EventOptions,
    report: Callable[[DispatchFigures], None] = lambda _: None,
    traced: TraceRecord = nullcontext,
) -> None:
    """Take events until a signal. Raises `KafkaException` where Kafka refuses for good."""
    events = EventPipeline(options, traced)
    try:
        await until_signal(events.pipeline, events.dispatcher.figures, report)
    finally:
        await events.close()
