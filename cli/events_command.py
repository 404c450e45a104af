"""`okawari events`: pictures that are registered become vectors, requests to train anew are recorded."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from adapters.registries import open_audit
from cli.errors import Refused
from cli.output import note, settings
from cli.stream_options import (
    bootstrap_option,
    concurrency_option,
    kafka_settings,
    needs_stream,
    retry_option,
    run_until_signal,
    service_option,
    service_token,
)
from hotswap.errors import StateUnavailable
from registry.audit import AuditedDecision
from registry.audit_key import BadKey
from registry.errors import RegistryUnavailable

if TYPE_CHECKING:
    from streaming.dispatcher import DispatchFigures
    from streaming.event_shapes import RetrainRequested
    from streaming.events import RetrainOptions
    from streaming.fetch import UrlPolicy
    from streaming.retrain_questions import CommandOffer, RecordRequest
    from streaming.vectors import QdrantVectors

_IMAGES, _RETRAIN = "image.metadata.registered.v1", "model.retrain.requested.v1"


@click.command("events")
@bootstrap_option
@service_option("The service that makes the vectors.")
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
@click.option(
    "--retrain-command",
    envvar="RETRAIN_COMMAND",
    metavar="COMMAND",
    help="Run it for each request to train anew: the event is its input, the request's id its last word.",
)
@click.option(
    "--retrain-webhook", envvar="RETRAIN_WEBHOOK", metavar="URL", help="Post each request there, as JSON."
)
@click.option("--group-id", envvar="GROUP_ID", default="okawari-events", show_default=True)
@click.option("--dlq-topic", envvar="DLQ_TOPIC", default="dlq.events", show_default=True)
@concurrency_option(8)
@retry_option
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
    retrain_command: str | None,
    retrain_webhook: str | None,
    group_id: str,
    dlq_topic: str,
    concurrency: int,
    retry_seconds: float,
) -> None:
    """Take events from Kafka until stopped by a signal.

    image.metadata.registered.v1: the picture's vector is stored in Qdrant, and embedding.generated.v1 given;
    an event that comes twice makes no second vector. model.retrain.requested.v1: recorded in the audit log,
    handed to the command or webhook, and model.retrain.recorded.v1 given. What cannot be done goes to the
    dead letters. MODEMORA_SUBSCRIBE_TO_EVENTS names the events to take, with commas; default: both.

    \b
    Examples:
      okawari events --bootstrap 127.0.0.1:9092 --model clip --allow images.example.org
      MODEMORA_SUBSCRIBE_TO_EVENTS=model.retrain.requested.v1 okawari events --retrain-command ./train.sh
    """
    needs_stream()
    if find_spec("qdrant_client") is None:
        raise Refused("events need one more package: install okawari[events]")
    from cli.traced import traced
    from streaming.events import EmbeddingOptions, EventOptions, run
    from telemetry.message_spans import message_span

    subscribed = _subscribed()
    embeddings, retraining = None, None
    if _IMAGES in subscribed:
        policy = _policy(allow, allow_private, max_mb * 1_000_000)
        vectors = _vectors(qdrant_url, collection)
        embeddings = EmbeddingOptions(
            url=http_url, model=model, urls=policy, vectors=vectors, token=service_token()
        )
        note(f"{_IMAGES} -> {http_url} -> {qdrant_url}/{collection}")
    if _RETRAIN in subscribed:
        retraining = _retraining(retrain_command, retrain_webhook)
        where = "the command" if retrain_command else "the webhook" if retrain_webhook else "nothing else"
        note(f"{_RETRAIN} -> the audit log and {where}")
    options = EventOptions(
        kafka=kafka_settings(bootstrap),
        embeddings=embeddings,
        retraining=retraining,
        dlq_topic=dlq_topic,
        group=group_id,
        concurrency=concurrency,
        retry_seconds=retry_seconds,
    )
    note("stop with Ctrl-C")
    with traced("okawari-events"):
        run_until_signal(run(options, _report, message_span), bootstrap)


def _subscribed() -> set[str]:
    """Raise `Refused` where the variable names something else than the events that are taken here."""
    named = os.environ.get("MODEMORA_SUBSCRIBE_TO_EVENTS", f"{_IMAGES},{_RETRAIN}")
    found = {each.strip() for each in named.split(",") if each.strip()}
    if not found or found - {_IMAGES, _RETRAIN}:
        text = (
            f"MODEMORA_SUBSCRIBE_TO_EVENTS should name {_IMAGES}, {_RETRAIN} or both, found {named[:200]!r}"
        )
        raise Refused(text)
    return found


def _policy(allowed: tuple[str, ...], private: tuple[str, ...], most_bytes: int) -> UrlPolicy:
    from streaming.fetch import UrlPolicy

    hosts = (*allowed, *private)
    if not hosts:
        raise click.UsageError(f"{_IMAGES} needs --allow HOST: where pictures may be fetched")
    return UrlPolicy(hosts, private, most_bytes)


def _vectors(url: str, collection: str) -> QdrantVectors:
    from qdrant_client import QdrantClient

    from streaming.vectors import QdrantVectors

    client = QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=10)
    return QdrantVectors(client, collection)


def _retraining(command: str | None, webhook: str | None) -> RetrainOptions:
    from streaming.events import RetrainOptions

    if command and webhook:
        raise click.UsageError("give --retrain-command or --retrain-webhook, not both")
    if webhook and not webhook.startswith(("http://", "https://")):
        raise click.UsageError(f"--retrain-webhook should be an http or https URL, found {webhook[:200]!r}")
    return RetrainOptions(
        record=_recorder(), command=_command(command) if command else None, webhook=webhook or None
    )


def _command(line: str) -> CommandOffer:
    from streaming.retrain_questions import CommandOffer

    try:
        return CommandOffer.of(line)
    except ValueError as error:
        raise click.UsageError(f"--retrain-command {line[:200]!r}: {error}") from None


def _recorder() -> RecordRequest:
    """Writes requests into the audit log of the settings."""
    from streaming.retrain_questions import NotRecorded

    configured = settings()
    try:
        log = open_audit(configured.registry_location, configured.home).log()
    except RegistryUnavailable as error:
        raise Refused(str(error)) from None

    def record(request: RetrainRequested, source: str) -> None:
        decision = AuditedDecision(
            "retrain",
            request.model_name,
            request.requested_by,
            request.reason,
            outcome="requested",
            source=f"retrain/{source}",
        )
        try:
            log.record(decision)
        except (OSError, StateUnavailable, BadKey, RegistryUnavailable) as error:
            raise NotRecorded(f"the audit log cannot be written: {error}") from None

    return record


def _report(figures: DispatchFigures) -> None:
    note(f"{figures.results} events done, {figures.dead_letters} dead letters, {figures.retries} tries again")
