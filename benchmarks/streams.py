"""Messages a second of both dispatchers, beside the service alone; real broker, real S3 server."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import obstore
import psutil
from confluent_kafka import Consumer, TopicPartition

from benchmarks.bring import bring
from benchmarks.client import LoadGenerator
from benchmarks.figures import Spread
from benchmarks.serving import HOST, Service
from examples.fruit.pictures import fruit
from scripts import clients
from tests.support.kafka_server import KafkaServer, running_kafka
from tests.support.s3_server import running_s3

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "imagery-hot"
CONCURRENCY = 16
_MESSAGES, _PARTITIONS, _PICTURES = 4_000, 4, 20
#: Not counted: Java compiles what runs often, and a dispatcher of either kind runs for days.
_WARM_UP = 1_000
_SECONDS = 3.0
_PATIENCE = 240.0


@dataclass(frozen=True, slots=True)
class StreamRun:
    """One round: messages a second, answers of the service alone, milliseconds of processor a message."""

    rate: float
    alone: float
    cpu_ms: float


@dataclass(slots=True)
class StreamResult:
    """All rounds of one dispatcher."""

    name: str
    runs: list[StreamRun] = field(default_factory=list)

    @property
    def of_alone(self) -> Spread:
        """Messages a second as a share of the answers of the service alone."""
        return Spread.of([run.rate / run.alone for run in self.runs])

    def figure(self, name: str) -> Spread:
        """A figure of `StreamRun` over the rounds."""
        return Spread.of([float(getattr(run, name)) for run in self.runs])


def measure(room: Path, rounds: int, tell: Callable[[str], None]) -> list[StreamResult]:
    """Both dispatchers in turn, each beside the service alone; empty without broker or S3 server."""
    results = [StreamResult("okawari dispatch"), StreamResult("Flink")]
    with ExitStack() as stack:
        try:
            flink = clients.build("flink")
            kafka = stack.enter_context(running_kafka())
            s3 = stack.enter_context(running_s3())
        except clients.Unavailable:
            return []
        bucket = s3.bucket(BUCKET)
        for number in range(_PICTURES):
            obstore.put(bucket, f"{number}.jpg", _picture(number))
        home = room / "home"
        home.mkdir()
        bring(home, [_version(room)])
        service = stack.enter_context(Service(home, 1, TEAM="fruit", **s3.variables))
        for round_number in range(rounds):
            for result in results:
                tell(f"{result.name}, round {round_number + 1}")
                before = _alone(service)
                command = _dispatch() if result is results[0] else _flink(flink, room / f"chk-{round_number}")
                rate, cpu = _through(kafka, service, command, room)
                result.runs.append(StreamRun(rate, (before + _alone(service)) / 2, cpu))
    return results


def _picture(number: int) -> bytes:
    written = io.BytesIO()
    fruit(number, defect=number % 2 == 1).save(written, "JPEG", quality=92)
    return written.getvalue()


def _version(room: Path) -> Path:
    folder = room / "source" / "fruit" / "v1"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "weights" / "fruit_best.onnx", folder / "weights.onnx")
    adapter = {"parameters": {"adapter": "fruit_defect_runner:FruitRunner"}}
    (folder / "config.json").write_text(
        json.dumps({"task": "custom", "family": "adapter", "output": adapter})
    )
    return folder


def _body(number: int) -> bytes:
    return json.dumps({"bucket": BUCKET, "key": f"{number % _PICTURES}.jpg"}).encode()


def _request(host: str, port: int, body: bytes) -> bytes:
    head = (
        f"POST /infer_json HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _alone(service: Service) -> float:
    """Answers a second to as many callers as a dispatcher has requests under way."""
    asked = [_request(*service.address, _body(number)) for number in range(_PICTURES)]
    until = time.monotonic() + _SECONDS
    load = LoadGenerator(service.address, asked, CONCURRENCY).run(lambda: time.monotonic() > until)
    return len(load.done) / load.seconds


def _dispatch() -> list[str]:
    return [str(Path(sys.executable).parent / "okawari"), "dispatch", "--concurrency", str(CONCURRENCY)]


def _flink(home: Path, checkpoints: Path) -> list[str]:
    job = ROOT / "streaming" / "flink" / "jobs" / "http_dispatcher.py"
    shares = ["--parallelism", "2", "--capacity", str(CONCURRENCY // 2)]
    return [str(home / "bin" / "python"), str(job), *shares, "--checkpoint-dir", str(checkpoints)]


def _through(kafka: KafkaServer, service: Service, command: list[str], room: Path) -> tuple[float, float]:
    """Messages a second from the end of the warm-up to the last, and milliseconds of processor for each."""
    run = f"r{time.monotonic_ns()}"
    topics = {"--input-topic": f"in.{run}", "--output-topic": f"out.{run}", "--dlq-topic": f"dlq.{run}"}
    kafka.topics(_PARTITIONS, *topics.values())
    kafka.send(topics["--input-topic"], [_body(number) for number in range(_MESSAGES)])
    where = [*(word for pair in topics.items() for word in pair), "--bootstrap", kafka.bootstrap]
    with _running(
        [*command, "--team", run, "--http-url", f"http://{HOST}:{service.port}", *where], room
    ) as process:
        until = time.monotonic() + _PATIENCE
        with _reading(kafka, topics["--output-topic"]) as written:
            begun = written(_WARM_UP, until)
            first, cpu = time.monotonic(), _processor(process)
            done = written(_MESSAGES - begun, until)
        seconds, spent = time.monotonic() - first, _processor(process) - cpu
    return done / seconds, spent / done * 1000


@contextmanager
def _reading(kafka: KafkaServer, topic: str) -> Iterator[Callable[[int, float], int]]:
    """Waits for so many further records, until a time, and says how many came.

    They count as they are written: a job commits them all at once, at its next checkpoint.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": "count",
            "isolation.level": "read_uncommitted",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(_PARTITIONS)])

    def written(count: int, until: float) -> int:
        came = 0
        while came < count and time.monotonic() < until:
            came += sum(each.error() is None for each in consumer.consume(500, 0.05))
        return came

    try:
        yield written
    finally:
        consumer.close()


@contextmanager
def _running(command: list[str], room: Path) -> Iterator[psutil.Process]:
    jars = clients.CACHE / "flink" / "connectors"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OKAWARI_FLINK_JARS": str(jars)}
    with (room / "dispatch.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.wait()


def _processor(process: psutil.Process) -> float:
    """Seconds of processor of a process and all that it has started."""
    spent = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in spent))
