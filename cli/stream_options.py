"""What the commands about streams share."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from cli.errors import Refused

if TYPE_CHECKING:
    from streaming.kafka_settings import KafkaSettings


def needs_stream() -> None:
    """Raise `Refused` where the packages for Kafka are not installed."""
    if any(find_spec(name) is None for name in ("confluent_kafka", "aiohttp")):
        raise Refused("Kafka needs two more packages: install okawari[stream]")


def kafka_settings(bootstrap: str) -> KafkaSettings:
    """How Kafka is reached: brokers, and TLS and SASL of the environment."""
    from streaming.kafka_settings import KafkaSettings

    return KafkaSettings.of(bootstrap)
