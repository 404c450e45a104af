"""A broker of Apache Kafka for tests: one node, KRaft, on loopback; started, killed and started again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from scripts import clients
from tests.support.s3_server import free_port

_PATIENCE = 90.0
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=5
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


class KafkaServer:
    """Raises `clients.Unavailable` without Java or Maven."""

    def __init__(self) -> None:
        self._jars = clients.build("kafka") / "lib"
        self._folder = Path(tempfile.mkdtemp(prefix="okawari-kafka-"))
        self._port, controller = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._counter: Consumer | None = None
        properties = _PROPERTIES.format(port=self._port, controller=controller, data=self._folder / "data")
        (self._folder / "server.properties").write_text(properties)
        node = subprocess.run(
            self._java("kafka.tools.StorageTool", "random-uuid"),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", node, "-c", self._properties),
            capture_output=True,
            check=True,
        )

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; it answers when this returns."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", self._properties), stdout=log, stderr=log, cwd=self._folder
            )
        until = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text()[-3000:])
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill -9; its files stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """End it and remove its files."""
        if self._counter is not None:
            self._counter.close()
        self.kill()
        shutil.rmtree(self._folder)

    def topics(self, partitions: int, *names: str) -> None:
        """Make topics."""
        admin = self.admin()  # it is asked until all are made
        made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        for future in made.values():
            future.result(_PATIENCE)

    def admin(self) -> AdminClient:
        """A client for administrators."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def send(
        self, topic: str, values: Sequence[bytes | None], headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Send messages, spread over the partitions."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        pairs = list((headers or {}).items())
        for number, value in enumerate(values):
            producer.produce(topic, value, str(number).encode(), headers=list(pairs))
            producer.poll(0)
        assert producer.flush(_PATIENCE) == 0

    def records(self, *topics: str) -> int:
        """About how many committed records there are: the marks of transactions, too."""
        if self._counter is None:
            self._counter = Consumer(
                {"bootstrap.servers": self.bootstrap, "group.id": "count", "log_level": 0}
            )
        try:
            found = self._counter.list_topics(timeout=10).topics
            places = [TopicPartition(name, each) for name in topics for each in found[name].partitions]
            return sum(self._counter.get_watermark_offsets(place, 10)[1] for place in places)
        except KafkaException:
            return 0

    def lag(self, group: str, topic: str) -> dict[int, tuple[int, int]]:
        """What a group has committed of each partition, and its end."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0})
        try:
            numbers = consumer.list_topics(topic, 10).topics[topic].partitions
            places = [TopicPartition(topic, number) for number in numbers]
            return {
                each.partition: (each.offset, consumer.get_watermark_offsets(each, 10)[1])
                for each in consumer.committed(places, 10)
            }
        finally:
            consumer.close()

    def read(self, *topics: str, count: int, seconds: float = 60.0) -> list[Message]:
        """All committed messages of topics: at least `count`, and what comes in a moment behind them."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"test-{uuid4().hex}",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe(list(topics))
        found: list[Message] = []
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                new = consumer.consume(500, 1.0)
                found += [message for message in new if message.error() is None]
                if not new and len(found) >= count:
                    break
        finally:
            consumer.close()
        return found

    @property
    def _properties(self) -> str:
        return str(self._folder / "server.properties")

    def _java(self, name: str, *arguments: str) -> list[str]:
        options = ["-Xmx384m", "-Xshare:auto", "-XX:TieredStopAtLevel=1"]
        return ["java", *options, "-cp", f"{self._jars}/*", name, *arguments]

    def _answers(self) -> bool:
        with suppress(KafkaException):
            return bool(self.admin().list_topics(timeout=1.0).brokers)
        return False


@contextmanager
def running_kafka() -> Iterator[KafkaServer]:
    """A broker while it is needed."""
    server = KafkaServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A broker for all tests of this process."""
    try:
        with running_kafka() as server:
            yield server
    except clients.Unavailable as error:
        pytest.skip(f"no broker of Kafka: {error}")
