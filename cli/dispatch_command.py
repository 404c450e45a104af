"""`okawari dispatch`: messages from a topic of Kafka through the service to results and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.output import note
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

if TYPE_CHECKING:
    from streaming.dispatcher import DispatchFigures


@click.command("dispatch")
@bootstrap_option
@click.option(
    "--team", envvar="TEAM", required=True, help="Whose messages; part of the usual names of topics."
)
@service_option("The service, or its /infer_json.")
@click.option("--input-topic", envvar="INPUT_TOPIC", help="Default: imagery.new.TEAM.")
@click.option("--output-topic", envvar="OUTPUT_TOPIC", help="Default: inference.results.TEAM.")
@click.option("--dlq-topic", envvar="DLQ_TOPIC", default="dlq.inference.http", show_default=True)
@click.option("--group-id", envvar="GROUP_ID", help="Default: http-dispatcher-TEAM.")
@concurrency_option(16)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=35.0,
    show_default=True,
    help="Seconds for one answer.",
)
@retry_option
def dispatch_command(
    *,
    bootstrap: str,
    team: str,
    http_url: str,
    input_topic: str | None,
    output_topic: str | None,
    dlq_topic: str,
    group_id: str | None,
    concurrency: int,
    timeout: float,
    retry_seconds: float,
) -> None:
    """Ask the service about each message of a topic, once, until stopped by a signal.

    A message is JSON with bucket and key of a picture, and perhaps camera, publish_ts_ms and extra. Its
    result goes to the output topic, or the message itself with the reason to the dead letters, in one
    transaction with the group's offset: read with read_committed, each message has exactly one outcome,
    whatever dies. What passes (429, 503, time-outs) is tried again; `okawari dlq` shows the rest.

    Start as many as there are partitions. TLS and SASL: KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM,
    KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SSL_CA, KAFKA_SSL_CERTIFICATE, KAFKA_SSL_KEY.
    Traces: OTEL_EXPORTER_OTLP_ENDPOINT.

    \b
    Examples:
      okawari dispatch --bootstrap 127.0.0.1:9092 --team fruit
      okawari dispatch --team fruit --http-url http://fruit-inference-http:8000 --concurrency 32
    """
    needs_stream()
    from cli.traced import traced
    from streaming.dispatch import DispatchOptions, run
    from telemetry.message_spans import message_span

    name = team.strip().lower()
    options = DispatchOptions(
        kafka=kafka_settings(bootstrap),
        team=name,
        url=http_url,
        input_topic=input_topic or f"imagery.new.{name}",
        output_topic=output_topic or f"inference.results.{name}",
        dlq_topic=dlq_topic,
        group=group_id or f"http-dispatcher-{name}",
        concurrency=concurrency,
        timeout=timeout,
        retry_seconds=retry_seconds,
        token=service_token(),
    )
    note(f"{options.input_topic} -> {http_url} -> {options.output_topic}, {dlq_topic}; stop with Ctrl-C")
    with traced("okawari-dispatch"):
        run_until_signal(run(options, _report, message_span), bootstrap)


def _report(figures: DispatchFigures) -> None:
    note(
        f"{figures.results} results, {figures.dead_letters} dead letters, {figures.retries} tries again, "
        f"{figures.in_flight} under way"
    )
