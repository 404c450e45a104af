"""How Kafka is reached: brokers, TLS and SASL, as data for confluent-kafka."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Variable → the property of librdkafka that it sets.
_VARIABLES = {
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA": "ssl.ca.location",
    "KAFKA_SSL_CERTIFICATE": "ssl.certificate.location",
    "KAFKA_SSL_KEY": "ssl.key.location",
}
#: After so long without a word a transaction of a process that is gone is given up.
_TRANSACTION_MS = 30_000


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """`bootstrap` is a list of host:port. `security` may hold a password, which is never shown."""

    bootstrap: str
    security: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, bootstrap: str, environment: Mapping[str, str] | None = None) -> KafkaSettings:
        """With TLS and SASL as the environment says (`KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_…`)."""
        variables = os.environ if environment is None else environment
        return cls(
            bootstrap,
            {key: variables[name] for name, key in _VARIABLES.items() if variables.get(name)},
        )

    def common(self) -> dict[str, Any]:
        """What every client needs."""
        return {
            "bootstrap.servers": self.bootstrap,
            # A broker that comes back would otherwise be forgotten where a transaction waits for it, which
            # then never ends: confluentinc/librdkafka#5511.
            "metadata.recovery.strategy": "none",
            **self.security,
        }

    def consumer(self, group: str) -> dict[str, Any]:
        """A consumer whose offsets are written by a producer's transactions."""
        return {
            **self.common(),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": 10_000,
            "partition.assignment.strategy": "cooperative-sticky",
        }

    def producer(self, transactional_id: str) -> dict[str, Any]:
        """A producer whose records are seen when their transaction is committed."""
        return {
            **self.common(),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": 4_000_000,
            "compression.type": "zstd",
        }
