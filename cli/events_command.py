"""`okawari events`: pictures that are registered become vectors."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from cli.errors import Refused
from cli.output import note
from cli.stream_options import kafka_settings, needs_stream

if TYPE_CHECKING:
    from streaming.dispatcher import DispatchFigures

_KNOWN = "image.metadata.registered.v1"


@click.command("events")
@click.option("--bootstrap", envvar="KAFKA_BOOTSTRAP", default="kafka:9092", show_default=True)
@click.option(
    "--http-url",
    envvar="HTTP_URL",
    default="http://127.0.0.1:3000",
    show_default=True,
    help="The service that makes the vectors.",
)
@click.option("--model", envvar="EMBEDDING_MODEL", help="Default: the service's default model.")
@click.option(
    "--qdrant-url",
    envvar="QDRANT_URL",
    default="http://127.0.0.1:6333",
    show_default=True,
    help="QDRANT_API_KEY is its key.",
)
@click.option("--collection", default="image_embeddings", show_default=True)
@click.option(
    "--allow",
    multiple=True,
    required=True,
    metavar="HOST",
    help="Fetch pictures from this host, or *.HOST; may be given several times.",
)
@click.option(
    "--allow-private",
    multiple=True,
    metavar="HOST",
    help="It may have an address that is not public.",
)
@click.option("--max-mb", type=click.IntRange(1, 1000), default=10, show_default=True, help="Of one picture.")
@click.option("--group-id", envvar="GROUP_ID", default="okawari-events", show_default=True)
@click.option("--dlq-topic", envvar="DLQ_TOPIC", default="dlq.events", show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 1000), default=8, show_default=True)
def events_command(
    *,
    bootstrap: str,
    http_url: str,
    model: str | None,
    qdrant_url: str,
    collection: str,
    allow: tuple[str, ...],
    allow_private: tuple[str, ...],
    max_mb: int,
    group_id: str,
    dlq_topic: str,
    concurrency: int,
) -> None:
    """Make the vector of each registered picture, until stopped by a signal.

    Takes image.metadata.registered.v1, stores the vector in Qdrant, gives embedding.generated.v1; what cannot
    be done goes to the dead letters. An event that comes twice makes no second vector.
    MODEMORA_SUBSCRIBE_TO_EVENTS may name the event; others are not taken here.

    \b
    Example:
      okawari events --bootstrap 127.0.0.1:9092 --model clip --allow images.example.org
    """
    needs_stream()
    if find_spec("qdrant_client") is None:
        raise Refused("events need one more package: install okawari[events]")
    _check_subscription()
    import os

    from confluent_kafka import KafkaException
    from qdrant_client import QdrantClient

    from streaming.events import EventOptions, run
    from streaming.fetch import UrlPolicy
    from streaming.vectors import QdrantVectors

    client = QdrantClient(url=qdrant_url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=10)
    options = EventOptions(
        kafka=kafka_settings(bootstrap),
        url=http_url,
        model=model,
        urls=UrlPolicy((*allow, *allow_private), allow_private, max_mb * 1_000_000),
        vectors=QdrantVectors(client, collection),
        dlq_topic=dlq_topic,
        group=group_id,
        concurrency=concurrency,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    note(f"{options.topic} -> {http_url} -> {qdrant_url}/{collection}; stop with Ctrl-C")
    try:
        asyncio.run(run(options, _report))
    except KafkaException as error:
        raise Refused(f"Kafka at {bootstrap}: {error.args[0].str()}") from None


def _check_subscription() -> None:
    """Raise `Refused` where the variable does not name the event that is taken here."""
    import os

    named = os.environ.get("MODEMORA_SUBSCRIBE_TO_EVENTS", _KNOWN)
    if _KNOWN not in [each.strip() for each in named.split(",")]:
        raise Refused(f"MODEMORA_SUBSCRIBE_TO_EVENTS should name {_KNOWN}, found {named[:200]!r}")


def _report(figures: DispatchFigures) -> None:
    note(f"{figures.results} vectors, {figures.dead_letters} dead letters, {figures.retries} tries again")
