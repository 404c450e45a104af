"""A team's topics and service, and what dispatches between them, for the tests of streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pytest
from confluent_kafka import Message

from scripts import clients
from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.reporting import services
from tests.e2e.sizes import FULL_SIZE
from tests.e2e.stores import Store
from tests.e2e.test_infer_json import BUCKET, add_fruit, picture
from tests.support.kafka_server import KafkaServer
from tests.support.otlp_receiver import OtlpReceiver, otlp_receiver
from tests.support.s3_server import S3Server

MESSAGES = 5_000 if FULL_SIZE else 150
PARTITIONS = 4
_DLQ = "dlq.inference.http"
#: The team `belt`: as `fruit`, with time enough for something to happen between two messages.
_SLOW = """
import time
from adapters.fruit_defect_runner import FruitRunner

class Belt(FruitRunner):
    def run(self, *arguments, **options):
        time.sleep(0.02)
        return super().run(*arguments, **options)
"""


@dataclass
class Streams:
    """Topics of their own for one team, and processes of `okawari dispatch` and Flink that work on them."""

    kafka: KafkaServer
    url: str
    folder: Path
    collector: OtlpReceiver
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kafka.topics(PARTITIONS, self.inputs, self.results, self.letters)

    @property
    def inputs(self) -> str:
        """The topic where messages go in."""
        return f"imagery.new.{self.run}"

    @property
    def results(self) -> str:
        """The topic where results come out."""
        return f"inference.results.{self.run}"

    @property
    def letters(self) -> str:
        """The topic where dead letters come out."""
        return f"{_DLQ}.{self.run}"

    def dispatch(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a member of the group."""
        traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        return self._start(BIN / "okawari", "dispatch", *self._usual, *options, **traces)

    def flink(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the job in a mini-cluster; again, it goes on from its newest checkpoint."""
        try:
            home = clients.build("flink")
        except clients.Unavailable as error:
            pytest.skip(f"no Flink: {error}")
        job = ROOT / "streaming" / "flink" / "jobs" / "http_dispatcher.py"
        own = ("--checkpoint-dir", self.folder / "checkpoints", "--checkpoint-seconds", "2")
        # Two minutes of a job are not enough for what Java's second compiler costs.
        java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
        where = {
            "PYTHONPATH": str(ROOT),
            "OKAWARI_FLINK_JARS": str(home / "connectors"),
            "JAVA_TOOL_OPTIONS": java,
        }
        return self._start(home / "bin" / "python", job, *self._usual, *own, *options, **where)

    @property
    def _usual(self) -> tuple[str, ...]:
        where = ("--bootstrap", self.kafka.bootstrap, "--http-url", self.url)
        return (*where, "--team", self.run, "--dlq-topic", self.letters)

    def _start(self, *command: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                env=environment(self.folder, self.folder) | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill -9, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    @property
    def log(self) -> Path:
        """What all processes say."""
        return self.folder / "dispatch.log"

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            self.kill(process)

    def outcomes(self, count: int, seconds: float = 120.0) -> tuple[list[Message], list[Message]]:
        """Results and dead letters, when there are so many in all."""
        found = self.kafka.read(self.results, self.letters, count=count, seconds=seconds)
        results = [one for one in found if one.topic() == self.results]
        return results, [one for one in found if one.topic() == self.letters]

    def dlq(self, *words: str) -> str:
        """What `okawari dlq` says."""
        done = subprocess.run(
            [
                str(BIN / "okawari"),
                "dlq",
                *words,
                "--bootstrap",
                self.kafka.bootstrap,
                "--dlq-topic",
                self.letters,
            ],
            cwd=ROOT,
            env=environment(self.folder, self.folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    """Where the service and `okawari dispatch` send their traces."""
    with otlp_receiver() as made:
        yield made


@pytest.fixture(scope="module")
def team(
    s3_server: S3Server, collector: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Store]]:
    """The service of the team `belt`, and its store."""
    bucket = s3_server.bucket(BUCKET)
    for number in range(20):
        obstore.put(bucket, f"stream/{number}.jpg", picture(number, defect=number % 2 == 1))
    obstore.put(bucket, "stream/broken.jpg", picture(1, defect=True)[:500])
    folder = tmp_path_factory.mktemp("stream")
    store = Store(folder / "home", folder)
    add_belt(store, "v1")
    code = folder / "root" / "adapters" / "belt_runner.py"
    code.parent.mkdir(parents=True)
    code.write_text(_SLOW)
    settings = {"TEAM": "belt", "OKAWARI_TEAM_ROOT": str(folder / "root"), **s3_server.variables}
    settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    with contextmanager(services)() as make:
        yield make(store.home, **settings).ready(), store


def add_belt(store: Store, version: str) -> None:
    """A version of the team's model."""
    add_fruit(store, version, model="belt", adapter="belt_runner")


@pytest.fixture
def streams(
    kafka: KafkaServer, team: tuple[Service, Store], collector: OtlpReceiver, tmp_path: Path
) -> Iterator[Streams]:
    """Topics of their own, and nothing left behind."""
    made = Streams(kafka, team[0].url, tmp_path, collector)
    try:
        yield made
    finally:
        made.end()


def message(key: str, **more: Any) -> bytes:
    """A message that names a picture."""
    return json.dumps({"bucket": BUCKET, "key": key, **more}).encode()


def mixed(count: int) -> list[bytes]:
    """Messages of which 2 % name broken pictures, and 1 % none that is there."""
    keys = [
        "stream/broken.jpg" if number % 50 == 7 else "none.jpg" if number % 100 == 13 else None
        for number in range(count)
    ]
    return [
        message(key or f"stream/{number % 20}.jpg", camera=f"c{number % 5}", publish_ts_ms=number)
        for number, key in enumerate(keys)
    ]


def ids_of(messages: Sequence[Message]) -> list[str]:
    """Which messages outcomes are of."""
    headers = [dict(one.headers() or ()) for one in messages]
    return [bytes(each["okawari.id"]).decode() for each in headers]


def sent_to(kafka: KafkaServer, topic: str, count: int) -> set[str]:
    """The ids of all messages of a topic."""
    return {f"{topic}-{one.partition()}-{one.offset()}" for one in kafka.read(topic, count=count)}
