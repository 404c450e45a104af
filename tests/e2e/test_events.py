"""Registered pictures become vectors, by a real broker and a real service; Qdrant is in memory."""

from __future__ import annotations

import asyncio
import io
import json
import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from qdrant_client import QdrantClient

from examples.clients.upload_handler import UploadHandler
from streaming.event_shapes import EmbeddingGenerated, ImageRegistered, RetrainRecorded, RetrainRequested
from streaming.events import EmbeddingOptions, EventOptions, EventPipeline
from streaming.fetch import UrlPolicy
from streaming.kafka_settings import KafkaSettings
from streaming.vectors import COLLECTION, QdrantVectors, Vector, vector_id
from tests.e2e.harness import BIN, ROOT, Service, environment, free_port
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.kafka_server import KafkaServer, kafka

__all__ = ["kafka"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(max(LIMIT, 300))]
_CONFIG = {
    "task": "image-embedding",
    "family": "embedder",
    "input": {"width": 8, "height": 8, "scale": 1 / 255},
    "output": {"parameters": {"l2": False}},
}
HOST = "127.0.0.1"


def _mean_colour() -> bytes:
    """A graph whose vector is the mean colour of a picture."""
    sides = [1, 3, 8, 8]
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pixels"], ["means"]),
            helper.make_node("Flatten", ["means"], ["vector"]),
        ],
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 3])],
    )
    made: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    data: bytes = made.SerializeToString()
    return data


def _picture(red: int, green: int, blue: int) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (40, 30), (red, green, blue)).save(written, "PNG")
    return written.getvalue()


class _OneByOne(QdrantVectors):
    """Qdrant in memory takes one write at a time; a server takes many."""

    _writing = threading.Lock()

    def put(self, vector: Vector) -> None:
        with self._writing:
            super().put(vector)


@contextmanager
def _serving(pictures: dict[str, bytes]) -> Iterator[str]:
    class Pictures(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pictures.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with an embedder."""
    folder = tmp_path_factory.mktemp("events")
    store = Store(folder / "home", folder)
    source = folder / "mean" / "v1"
    source.mkdir(parents=True)
    (source / "weights.onnx").write_bytes(_mean_colour())
    (source / "config.json").write_text(json.dumps(_CONFIG))
    store.take(source)
    with contextmanager(services)() as make:
        yield make(store.home, OKAWARI_DEFAULT_MODEL="mean").ready()


def _run(options: EventOptions, finished: Callable[[EventPipeline], bool]) -> None:
    """Take events until it is finished."""

    async def run() -> None:
        events = EventPipeline(options)
        pipeline = events.pipeline()
        running = asyncio.create_task(pipeline.run())
        try:
            async with asyncio.timeout(120):
                while not finished(events) and not running.done():
                    await asyncio.sleep(0.1)
            pipeline.stop()
            await running
        finally:
            await events.close()

    asyncio.run(run())


def test_a_registered_picture_becomes_one_vector_and_an_event(service: Service, kafka: KafkaServer) -> None:
    run = uuid4().hex[:8]
    topics = f"{ImageRegistered.topic}.{run}", f"dlq.events.{run}"
    kafka.topics(2, *topics)
    if EmbeddingGenerated.topic not in kafka.admin().list_topics(timeout=10).topics:
        kafka.topics(2, EmbeddingGenerated.topic)
    pictures = {"/red.png": _picture(255, 0, 0), "/text": b"no picture"}
    client = QdrantClient(":memory:")
    with _serving(pictures) as url:

        def event(name: str, path: str, **more: Any) -> bytes:
            fields = {"image_metadata_id": f"{run}-{name}", "owner_id": "o-1", "image_url": f"{url}{path}"}
            return json.dumps(fields | more).encode()

        sent = [
            event("red", "/red.png", content_type="image/png"),
            event("red", "/red.png"),  # again
            event("text", "/text"),
            event("away", "/none.png"),
            event("inside", "", image_url="http://169.254.169.254/latest"),
            b'{"owner_id": "o-1"}',
        ]
        kafka.send(topics[0], sent, {"traceparent": b"00-a-b-01"})
        options = EventOptions(
            kafka=KafkaSettings(kafka.bootstrap),
            embeddings=EmbeddingOptions(
                url=service.url,
                model="mean",
                urls=UrlPolicy([HOST], [HOST]),
                vectors=_OneByOne(client),
                topic=topics[0],
            ),
            dlq_topic=topics[1],
            group=f"events-{run}",
        )

        def all_done(events: EventPipeline) -> bool:
            figures = events.dispatcher.figures
            return figures.results + figures.dead_letters == len(sent)

        _run(options, all_done)
    (point,) = client.scroll(COLLECTION, with_vectors=True)[0]
    assert point.id == vector_id(f"{run}-red", "mean")
    assert np.allclose(np.asarray(point.vector, np.float32), [1, 0, 0], atol=0.01)
    assert point.payload is not None
    assert point.payload.pop("digest").startswith("sha256:")
    assert point.payload == {
        "image_metadata_id": f"{run}-red",
        "owner_id": "o-1",
        "model_name": "mean",
        "model_version": "v1",
        "dimension": 3,
    }
    told = [
        document
        for one in kafka.read(EmbeddingGenerated.topic, count=2)
        if (document := json.loads(one.value() or b""))["image_metadata_id"] == f"{run}-red"
    ]
    assert len(told) == 2
    assert {each["vector_id"] for each in told} == {point.id}
    assert EmbeddingGenerated.model_validate(told[0]).dimension == 3
    letters = kafka.read(topics[1], count=4)
    codes = {bytes(dict(one.headers() or ())["okawari.error.code"]).decode() for one in letters}
    assert codes == {"invalid_image", "image_http_404", "url_not_allowed", "invalid_event"}
    assert len(letters) == 4


def test_an_upload_gets_its_vector_at_once_or_by_an_event(
    service: Service, kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.clients.upload_handler.SECONDS", 30.0)
    topic = f"{ImageRegistered.topic}.{uuid4().hex[:8]}"
    kafka.topics(1, topic)
    handle = UploadHandler(service.grpc_address, kafka.bootstrap, topic)
    vector = handle("i-1", "o-1", "https://a.example/1", _picture(0, 255, 0), "mean")
    handle.close()
    assert vector is not None
    assert np.allclose(vector, [0, 1, 0], atol=0.01)
    away = UploadHandler(f"127.0.0.1:{free_port()}", kafka.bootstrap, topic)
    assert away("i-2", "o-1", "https://a.example/2", _picture(0, 255, 0)) is None
    away.close()
    (event,) = kafka.read(topic, count=1)
    assert ImageRegistered.model_validate_json(event.value() or b"").image_metadata_id == "i-2"


def test_a_request_to_train_anew_is_recorded_once_and_handed_to_the_command(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    letters = "dlq.events"
    kafka.topics(1, RetrainRequested.topic, RetrainRecorded.topic, letters)
    taken = tmp_path / "taken"
    command = tmp_path / "train"
    command.write_text(f'#!/bin/sh\necho "$1 $(cat)" >> {taken}\n')
    command.chmod(0o755)
    request = {"model_name": "shapes", "reason": "night pictures", "requested_by": "ana"}
    kafka.send(RetrainRequested.topic, [json.dumps(request).encode(), b'{"model_name": "../x"}'])
    variables = environment(tmp_path / "store", tmp_path / "home")
    variables["MODEMORA_SUBSCRIBE_TO_EVENTS"] = RetrainRequested.topic
    start = [str(BIN / "okawari"), "events", "--bootstrap", kafka.bootstrap]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*start, "--retrain-command", str(command)], cwd=ROOT, env=variables, stdout=log, stderr=log
        ) as process,
    ):
        (told,) = kafka.read(RetrainRecorded.topic, count=1)
        (letter,) = kafka.read(letters, count=1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    identity = f"{RetrainRequested.topic}-0-0"
    assert json.loads(told.value() or b"") == {
        "request_id": identity,
        "model_name": "shapes",
        "offered_to": "command",
    }
    assert taken.read_text() == f"{identity} {RetrainRequested(**request).model_dump_json()}\n"
    assert dict(letter.headers() or ())["okawari.error.code"] == b"invalid_event"
    shown = subprocess.run(
        [str(BIN / "okawari"), "audit", "--json"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        check=True,
        timeout=60,
    )
    (record,) = json.loads(shown.stdout)["records"]
    assert [record[name] for name in ("action", "model", "actor", "reason", "outcome")] == [
        "retrain",
        "shapes",
        "ana",
        "night pictures",
        "requested",
    ]


def test_versions_that_come_and_go_are_told_once_by_two_workers(kafka: KafkaServer, tmp_path: Path) -> None:
    topics = ("model.loaded.v1", "model.swapped.v1", "model.rejected.v1")
    kafka.topics(1, *topics)
    store = Store(tmp_path / "home", tmp_path)
    store.add("v1", 1)
    with contextmanager(services)() as make:
        service = make(store.home, WORKERS="2", OKAWARI_EVENTS=kafka.bootstrap).ready()
        store.add("v2", 2)
        until(lambda: service.predict().json()["model_version"] == "v2", "v2 answers")
        store.add("v3", 3, best=math.nan)
        until(lambda: service.states("m").get("v3", {}).get("state") == "failed", "v3 is refused")
        events = [
            (one.topic(), json.loads(one.value() or b"")) for one in kafka.read(*topics, count=5, seconds=40)
        ]
    loaded = [each["model_version"] for topic, each in events if topic == "model.loaded.v1"]
    swapped = [
        (each["previous_version"], each["model_version"])
        for topic, each in events
        if topic == "model.swapped.v1"
    ]
    rejected = {each["model_version"] for topic, each in events if topic == "model.rejected.v1"}
    assert (loaded, swapped, rejected) == (["v1", "v2"], [(None, "v1"), ("v1", "v2")], {"v3"})


def test_without_a_broker_predictions_are_answered_and_the_end_is_quick(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", tmp_path)
    store.add("v1", 1)
    with contextmanager(services)() as make:
        service = make(store.home, OKAWARI_EVENTS=f"127.0.0.1:{free_port()}").ready()
        assert service.predict().status_code == 200
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 30
