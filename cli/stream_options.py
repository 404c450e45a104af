"""What the commands about streams share."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.errors import Refused

if TYPE_CHECKING:
    from streaming.kafka_settings import KafkaSettings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def bootstrap_option(command: _Command) -> _Command:
    """The brokers."""
    return click.option("--bootstrap", envvar="KAFKA_BOOTSTRAP", default="kafka:9092", show_default=True)(
        command
    )


def service_option(text: str) -> Callable[[_Command], _Command]:
    """The service that is asked."""
    return click.option(
        "--http-url", envvar="HTTP_URL", default="http://127.0.0.1:3000", show_default=True, help=text
    )


def service_token() -> str | None:
    """The bearer token for the service, from `OKAWARI_TOKEN`; a token on a command line is seen by others."""
    return os.environ.get("OKAWARI_TOKEN") or None


def concurrency_option(default: int) -> Callable[[_Command], _Command]:
    """How much is done at once."""
    return click.option(
        "--concurrency",
        envvar="CONCURRENCY",
        type=click.IntRange(1, 1000),
        default=default,
        show_default=True,
        help="Requests under way at once.",
    )


def retry_option(command: _Command) -> _Command:
    """How long a message is tried."""
    return click.option(
        "--retry-seconds",
        type=click.FloatRange(0, 86_400),
        default=600.0,
        show_default=True,
        help="Seconds for all tries of one message.",
    )(command)


def needs_stream() -> None:
    """Raise `Refused` where the packages for Kafka are not installed."""
    if any(find_spec(name) is None for name in ("confluent_kafka", "aiohttp")):
        raise Refused("Kafka needs two more packages: install okawari[stream]")


def kafka_settings(bootstrap: str) -> KafkaSettings:
    """How Kafka is reached: brokers, and TLS and SASL of the environment."""
    from streaming.kafka_settings import KafkaSettings

    return KafkaSettings.of(bootstrap)


def run_until_signal(work: Coroutine[Any, Any, None], bootstrap: str) -> None:
    """Run it, with a log. Raises `Refused` where Kafka does."""
    from confluent_kafka import KafkaException

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(work)
    except KafkaException as error:
        text = f"Kafka at {bootstrap}: {error.args[0].str()}; what is under way is done again"
        raise Refused(text) from None
