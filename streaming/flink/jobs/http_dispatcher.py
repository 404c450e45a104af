"""The dispatcher as a job of Flink: Kafka -> the service over HTTP -> Kafka, each message exactly once.

    python streaming/flink/jobs/http_dispatcher.py --team fruit        # on this machine, in a mini-cluster
    flink run -py streaming/flink/jobs/http_dispatcher.py --team fruit # on a cluster

Kafka's source and sink are those of the Table API, which alone hands offsets and headers to Python. The sink
writes in transactions that end with a checkpoint. Started again, the job goes on from the newest checkpoint
below `--checkpoint-dir`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Row, Time, Types
from pyflink.datastream import AsyncDataStream, AsyncFunction, StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from streaming.dispatcher import Dispatcher
from streaming.http_client import HttpInference
from streaming.image_questions import ImageQuestions
from streaming.messages import IncomingRecord, Position
from streaming.outcomes import OutcomeTopics
from streaming.retries import RetryPolicy

logger = logging.getLogger("okawari.streaming")

_FLINK = Path(__file__).resolve().parents[1]
_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_HEADERS = Types.MAP(Types.STRING(), _BYTES)
_OUTCOME = Types.ROW_NAMED(
    ["is_result", "key_bytes", "value_bytes", "names", "texts"],
    [Types.BOOLEAN(), _BYTES, _BYTES, Types.OBJECT_ARRAY(Types.STRING()), Types.OBJECT_ARRAY(_BYTES)],
)
#: Milliseconds in which a transaction must end: Kafka's own limit. A job that is away for longer loses it.
_TRANSACTION_MS = 900_000
#: Messages that an instance holds for each request that it may have under way. A bundle is so many: it ends
#: when all of them are answered, and until the next one begins fewer and fewer requests are under way.
_HELD = 8
#: Variable -> the property of Kafka's Java client that it sets.
_SECURITY = {
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SSL_CA": "ssl.truststore.location",
}


class AskService(AsyncFunction):  # type: ignore[misc] # pyflink has no types
    """One record of the input becomes its outcome. A client and an event loop for each parallel instance."""

    def __init__(
        self, url: str, topics: tuple[str, str, str], capacity: int, seconds: tuple[float, float]
    ) -> None:
        """At most `capacity` requests are under way in each instance.

        `topics`: team, results, dead letters; `seconds`: for one answer, for all tries of a message.
        """
        self._url = url
        self._topics = topics
        self._capacity = capacity
        self._seconds = seconds
        self._dispatcher: Dispatcher | None = None

    async def async_invoke(self, value: Row) -> list[Row]:
        """See `AsyncFunction`. Nothing is raised for a message."""
        if self._dispatcher is None:
            team, results, letters = self._topics
            # Of the task manager: what the job holds is stored with its checkpoints.
            token = os.environ.get("OKAWARI_TOKEN")
            client = HttpInference(
                self._url, connections=self._capacity, seconds=self._seconds[0], token=token
            )
            policy = RetryPolicy(self._seconds[1])
            written = OutcomeTopics(team, results, letters)
            self._dispatcher = Dispatcher(
                ImageQuestions(client, written), written, policy, concurrency=self._capacity
            )
        key, message, headers, topic, partition, offset = value
        record = IncomingRecord(
            Position(topic, partition, offset), message, key, tuple((headers or {}).items())
        )
        outcome = await self._dispatcher.outcome(record)
        named = dict(outcome.headers)
        return [
            Row(
                outcome.topic == self._topics[1],
                outcome.key,
                outcome.value,
                list(named),
                [value or b"" for value in named.values()],
            )
        ]


def main(words: Sequence[str] | None = None) -> None:
    """Run the job until it is cancelled, or the input's end with `--bounded`."""
    options = _options(words)
    environment = StreamExecutionEnvironment.get_execution_environment(_configuration(options))
    environment.set_parallelism(options.parallelism)
    environment.enable_checkpointing(int(options.checkpoint_seconds * 1000))
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(_source(options))
    for name, topic in (("results", options.output_topic), ("letters", options.dlq_topic)):
        tables.execute_sql(_sink(options, name, topic))

    asked = AsyncDataStream.unordered_wait(
        tables.to_data_stream(tables.from_path("messages")),
        AskService(
            options.http_url,
            (options.team, options.output_topic, options.dlq_topic),
            options.capacity,
            (options.timeout, options.retry_seconds),
        ),
        Time.seconds(0),  # None: the dispatcher keeps time, and Flink would start a thread for each message.
        options.capacity * _HELD,
        _OUTCOME,
    )
    outcomes = tables.from_data_stream(asked, _schema())
    tables.create_temporary_view("outcomes", outcomes)
    statements = tables.create_statement_set()
    for name, wanted in (("results", "is_result"), ("letters", "NOT is_result")):
        statements.add_insert_sql(
            f"INSERT INTO {name} SELECT key_bytes, value_bytes, MAP_FROM_ARRAYS(names, texts) "  # noqa: S608
            f"FROM outcomes WHERE {wanted}"
        )
    statements.attach_as_datastream()
    environment.execute(f"http-dispatcher-{options.team}")


def _schema() -> Schema:
    return (
        Schema.new_builder()
        .column("is_result", DataTypes.BOOLEAN())
        .column("key_bytes", DataTypes.BYTES())
        .column("value_bytes", DataTypes.BYTES())
        .column("names", DataTypes.ARRAY(DataTypes.STRING()))
        .column("texts", DataTypes.ARRAY(DataTypes.BYTES()))
        .build()
    )


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    said = os.environ.get
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bootstrap", default=said("KAFKA_BOOTSTRAP", "kafka:9092"))
    parser.add_argument("--team", default=said("TEAM"), help="whose messages; TEAM")
    parser.add_argument("--input-topic", default=said("INPUT_TOPIC"), help="default: imagery.new.TEAM")
    parser.add_argument(
        "--output-topic", default=said("OUTPUT_TOPIC"), help="default: inference.results.TEAM"
    )
    parser.add_argument("--dlq-topic", default=said("DLQ_TOPIC", "dlq.inference.http"))
    parser.add_argument(
        "--http-url", default=said("HTTP_URL"), help="default: http://TEAM-inference-http:8000"
    )
    parser.add_argument("--group-id", default=said("GROUP_ID"), help="default: http-dispatcher-TEAM")
    parser.add_argument("--parallelism", type=int, default=int(said("PARALLELISM", "2")))
    parser.add_argument("--capacity", type=int, default=16, help="requests under way in each instance")
    parser.add_argument("--checkpoint-dir", default=said("CHECKPOINT_DIR"), help="where state is kept")
    parser.add_argument("--checkpoint-seconds", type=float, default=5.0)
    parser.add_argument("--timeout", type=float, default=35.0, help="seconds for one answer")
    parser.add_argument("--retry-seconds", type=float, default=600.0, help="for all tries of a message")
    parser.add_argument("--bounded", action="store_true", help="end with what the topic has now")
    options = parser.parse_args(words)
    if not options.team:
        parser.error("--team, or TEAM, is needed")
    if _checkpoint_seconds(options) * 1000 >= _TRANSACTION_MS:
        parser.error(
            f"--retry-seconds (or {_HELD} times --timeout, if that is more) and twice --timeout: "
            "770 s at most, a transaction ends after 15 min"
        )
    options.team = options.team.strip().lower()
    options.input_topic = options.input_topic or f"imagery.new.{options.team}"
    options.output_topic = options.output_topic or f"inference.results.{options.team}"
    options.http_url = options.http_url or f"http://{options.team}-inference-http:8000"
    options.group_id = options.group_id or f"http-dispatcher-{options.team}"
    return options


def _checkpoint_seconds(options: argparse.Namespace) -> int:
    """How long a checkpoint may take: all that a bundle holds is tried to its end before."""
    first_tries = _HELD * options.timeout
    return int(max(options.retry_seconds, first_tries) + 2 * options.timeout + 120)


def _configuration(options: argparse.Namespace) -> Configuration:
    python = os.environ.get("PYFLINK_CLIENT_EXECUTABLE", sys.executable)
    values = {
        "python.executable": python,
        "python.client.executable": python,
        # A checkpoint waits for the bundle that has begun: no larger than what is held at once.
        "python.fn-execution.bundle.size": str(options.capacity * _HELD),
        "python.fn-execution.bundle.time": "500",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.min-pause": "500",
        # Longer than a message may be tried, within the transactions of the sinks.
        "execution.checkpointing.timeout": f"{_checkpoint_seconds(options)} s",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "table.exec.sink.not-null-enforcer": "DROP",
    }
    folder = Path(os.environ.get("OKAWARI_FLINK_JARS") or _FLINK / "connectors")
    jars = sorted(folder.absolute().glob("*.jar"))
    if jars:
        values["pipeline.jars"] = ";".join(jar.as_uri() for jar in jars)
    if options.checkpoint_dir:
        values["execution.checkpointing.dir"] = _uri(options.checkpoint_dir)
        newest = _newest(Path(options.checkpoint_dir.removeprefix("file://")))
        if newest is not None:
            logger.info("goes on from %s", newest)
            values["execution.state-recovery.path"] = newest.as_uri()
    configuration = Configuration()
    for name, value in values.items():
        configuration.set_string(name, value)
    return configuration


def _uri(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()


def _newest(folder: Path) -> Path | None:
    """The newest complete checkpoint below a folder; None without one."""
    found = [file for file in folder.glob("*/chk-*/_metadata") if file.is_file()]
    return max(found, key=lambda file: file.stat().st_mtime_ns).parent.absolute() if found else None


def _source(options: argparse.Namespace) -> str:
    bounded = {"scan.bounded.mode": "latest-offset"} if options.bounded else {}
    properties = {
        **_kafka(options),
        "topic": options.input_topic,
        "properties.group.id": options.group_id,
        "properties.auto.offset.reset": "earliest",
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "group-offsets",
        "key.format": "raw",
        "key.fields": "key_bytes",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **bounded,
    }
    return (
        "CREATE TEMPORARY TABLE messages (key_bytes BYTES, value_bytes BYTES, "
        "headers MAP<STRING, BYTES> METADATA VIRTUAL, `topic` STRING METADATA VIRTUAL, "
        f"`partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL) WITH ({_with(properties)})"
    )


def _sink(options: argparse.Namespace, name: str, topic: str) -> str:
    properties = {
        **_kafka(options),
        "topic": topic,
        "key.format": "raw",
        "key.fields": "key_bytes",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"{options.group_id}-{name}",
        "properties.transaction.timeout.ms": str(_TRANSACTION_MS),
        "properties.max.request.size": "4000000",
        "properties.compression.type": "gzip",
    }
    return (
        f"CREATE TEMPORARY TABLE {name} (key_bytes BYTES, value_bytes BYTES, "
        f"headers MAP<STRING, BYTES> METADATA) WITH ({_with(properties)})"
    )


def _kafka(options: argparse.Namespace) -> dict[str, str]:
    return {
        "connector": "kafka",
        "properties.bootstrap.servers": options.bootstrap,
        **{f"properties.{name}": value for name, value in _security(os.environ).items()},
    }


def _security(variables: Mapping[str, str]) -> dict[str, str]:
    """TLS and SASL for Kafka's Java client, from the variables that `okawari dispatch` reads."""
    found = {name: variables[key] for key, name in _SECURITY.items() if variables.get(key)}
    if "ssl.truststore.location" in found:
        found["ssl.truststore.type"] = "PEM"
    user, password = variables.get("KAFKA_SASL_USERNAME"), variables.get("KAFKA_SASL_PASSWORD")
    if user and password:
        kind = (
            "scram.ScramLoginModule"
            if "SCRAM" in found.get("sasl.mechanism", "")
            else "plain.PlainLoginModule"
        )
        found["sasl.jaas.config"] = (
            f'org.apache.kafka.common.security.{kind} required username="{user}" password="{password}";'
        )
    return found


def _with(properties: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}' = '{_quoted(value)}'" for name, value in properties.items())


def _quoted(value: str) -> str:
    return value.replace("'", "''")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
