"""Messages through `okawari dispatch` and through the job of Flink: each has one outcome, whatever dies.

The broker, the S3 server, the mini-cluster and the service are real ones. The full size is 5,000 messages,
the everyday size 150.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from functools import partial
from uuid import uuid4

import obstore
import pytest
from confluent_kafka import Message

from tests.e2e.harness import Service
from tests.e2e.sizes import FULL_SIZE
from tests.e2e.stores import Store
from tests.e2e.streams import (
    MESSAGES,
    Streams,
    add_belt,
    collector,
    ids_of,
    message,
    mixed,
    sent_to,
    streams,
    team,
)
from tests.e2e.test_infer_json import BUCKET, picture
from tests.e2e.waiting import until
from tests.support.kafka_server import kafka
from tests.support.otlp_receiver import ReceivedSpan
from tests.support.s3_server import S3Server, s3_server

__all__ = ["collector", "kafka", "s3_server", "streams", "team"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400 if FULL_SIZE else 500)]


def test_each_message_becomes_a_result_or_a_dead_letter(streams: Streams) -> None:
    values = [
        message("stream/1.jpg", camera="north", extra={"threshold": 0.0}),
        message("none.jpg"),
        b"no json",
        message("stream/2.jpg", bucket="secrets"),
        message("stream/broken.jpg"),
    ]
    trace, producer = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    parent = f"00-{trace}-{producer}-01".encode()
    streams.kafka.send(streams.inputs, values, {"traceparent": parent})
    process = streams.dispatch()
    results, letters = streams.outcomes(len(values))
    (result,) = results
    document = json.loads(result.value() or b"")
    assert (document["answer"]["label"], document["model"], document["model_version"]) == (
        "defect",
        "belt",
        "v1",
    )
    assert document["input"]["camera"] == "north"
    assert result.key() == b"north"
    headers = dict(result.headers() or ())
    assert headers["okawari.model_version"] == b"v1"
    (of_result,) = ids_of([result])

    def chain() -> list[ReceivedSpan]:
        """The spans of this message, each the parent of the next."""
        spans = streams.collector.spans
        work = [span for span in spans if span.attributes.get("messaging.message.id") == of_result]
        request = [span for span in spans if work and span.parent == work[0].id]
        return [*work, *request, *(span for span in spans if request and span.parent == request[0].id)]

    until(lambda: len(chain()) >= 3, "all its spans are exported")
    work, request, inference = chain()
    assert (work.parent, work.service) == (producer, "okawari-dispatch")
    assert headers["traceparent"] == f"00-{trace}-{work.id}-01".encode()
    assert (request.service, inference.attributes["model_version"]) == ("okawari", "v1")
    codes = {bytes(dict(one.headers() or ())["okawari.error.code"]).decode(): one for one in letters}
    assert set(codes) == {"object_not_found", "invalid_message", "bucket_not_allowed", "invalid_image"}
    assert codes["invalid_message"].value() == b"no json"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "1 results, 4 dead letters" in streams.log.read_text()


def test_dead_letters_are_listed_and_sent_back_once(streams: Streams, s3_server: S3Server) -> None:
    key = f"late-{streams.run}.jpg"
    streams.kafka.send(streams.inputs, [message(key), message("stream/broken.jpg")])
    streams.dispatch()
    streams.outcomes(2)
    listed = streams.dlq("list")
    assert "object_not_found" in listed
    assert "invalid_image" in listed
    assert json.loads(streams.dlq("list", "--json", "--code", "object_not_found"))[0]["attempts"] == 1
    assert "1 letters would be sent back" in streams.dlq("redrive", "--code", "object_not_found", "--dry-run")
    obstore.put(s3_server.bucket(BUCKET), key, picture(3, defect=True))
    assert "1 letters sent back, 1 kept" in streams.dlq("redrive", "--code", "object_not_found")
    assert "0 letters sent back, 1 kept" in streams.dlq("redrive", "--code", "object_not_found")
    results, _ = streams.outcomes(4)
    assert [json.loads(one.value() or b"")["input"]["key"] for one in results] == [key]
    (left,) = json.loads(streams.dlq("list", "--json"))
    assert (left["code"], left["class"]) == ("invalid_image", "permanent")


#: How many messages come when all that was killed is back.
_LAST = 10


@pytest.mark.parametrize("by", ["dispatch", "flink"])
def test_whatever_dies_each_message_has_one_outcome_and_one_version(
    streams: Streams, team: tuple[Service, Store], by: str
) -> None:
    """Swaps; dispatcher or job killed -9 and back, the service killed -9, the broker killed and back."""
    service, store = team
    kafka, run = streams.kafka, uuid4().hex[:8]
    kafka.send(streams.inputs, mixed(MESSAGES))
    start = partial(streams.dispatch, "--concurrency", "4") if by == "dispatch" else streams.flink
    first = start()
    if by == "dispatch":
        start()

    def reached(share: float) -> None:
        until(
            lambda: kafka.records(streams.results, streams.letters) > share * MESSAGES,
            f"{share:.0%} is done",
            seconds=300,
        )

    reached(0.1)
    add_belt(store, f"{run}-1")
    streams.kill(first)
    start()
    reached(0.3)
    os.killpg(service.master.pid, signal.SIGKILL)
    service.ended()
    until(service.gone, "the service is gone")
    add_belt(store, f"{run}-2")
    service.start()
    reached(0.6)
    kafka.kill()
    kafka.start()
    patience = 1200 if FULL_SIZE else 240
    streams.outcomes(MESSAGES, seconds=patience)
    # A job that began anew may have answered all of them with one version; the last ones get another.
    add_belt(store, f"{run}-3")
    service.serves(f"{run}-3", "belt")
    kafka.send(streams.inputs, mixed(_LAST))
    sent = sent_to(kafka, streams.inputs, MESSAGES + _LAST)
    results, letters = streams.outcomes(MESSAGES + _LAST, seconds=patience)
    ids = ids_of([*results, *letters])
    missing = sorted(sent.difference(ids))
    assert missing == [], (
        len(missing),
        missing[:10],
        kafka.lag(f"http-dispatcher-{streams.run}", streams.inputs),
    )
    assert {one: count for one, count in Counter(ids).items() if count > 1} == {}
    assert set(ids) == sent
    headers = [dict(one.headers() or ()) for one in letters]
    assert {bytes(each["okawari.error.code"]).decode() for each in headers} == {
        "invalid_image",
        "object_not_found",
    }
    versions = Counter(_version(one) for one in results)
    assert len(versions) == len({version for version, _ in versions}) >= 2
    print(f"{by}: {len(results)} results, {len(letters)} dead letters, by version {dict(versions)}")


def _version(result: Message) -> tuple[str, str]:
    """Version and digest, which answer, record and header name alike."""
    document, headers = json.loads(result.value() or b""), dict(result.headers() or ())
    answer = document["answer"]
    named = bytes(headers["okawari.model_version"]).decode()
    assert document["model_version"] == answer["model_version"] == named
    assert document["model_digest"] == answer["model_digest"]
    return document["model_version"], document["model_digest"]


def test_a_stopped_dispatcher_ends_what_it_has_begun(streams: Streams) -> None:
    streams.kafka.send(streams.inputs, mixed(60))
    process = streams.dispatch()
    until(lambda: streams.kafka.records(streams.results) > 0, "some are written")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    told = re.findall(r"(\d+) results, (\d+) dead letters", streams.log.read_text())[-1]
    results, letters = streams.outcomes(0, seconds=10)
    assert (len(results), len(letters)) == tuple(map(int, told))
    streams.dispatch()
    results, letters = streams.outcomes(60)
    assert len(set(ids_of([*results, *letters]))) == len(results) + len(letters) == 60
