"""perf_analyzer, the usual load generator: it reads metadata and config, then asks as fast as it can."""

from __future__ import annotations

import csv
import itertools
import json
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.builders import score_of
from tests.clients.conftest import Served, home_of, run
from tests.clients.recording import recorded
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REQUESTS = 100
REQUESTS_OVER_SWAPS = 300


def measured(served: Served, table: Path, wire: str, requests: int) -> dict[str, str]:
    """What it measured; a request that fails ends it with an error."""
    home = home_of("perf_analyzer")
    words = ["-m", "m", "-i", wire, "-u", served.at(wire), "--shape", "image:1,3,32,32"]
    # Three windows of so many requests, however much they differ; exact counts were seen never to end.
    windows = ["--measurement-mode", "count_windows", "--measurement-request-count", str(requests)]
    bounds = [*windows, "-s", "999", "--concurrency-range", "2", "-f", table, "--verbose-csv"]
    libraries = {"LD_LIBRARY_PATH": (home / "library-path").read_text()}
    before = served.answered()
    try:
        run(home / "bin" / "perf_analyzer", *words, *bounds, env=libraries, timeout=100)
    except subprocess.TimeoutExpired as late:
        answered = served.answered() - before
        raise AssertionError(f"no end after {answered} answers: {late.output!r}") from None
    with table.open() as file:
        (row,) = csv.DictReader(file)
    return row


@contextmanager
def swapping(served: Served) -> Iterator[list[str]]:
    """The target of m goes to and fro; yields what has served so far."""
    ended, served_by = threading.Event(), ["v2"]

    def swap() -> None:
        for target in itertools.cycle(("v1", "v2")):
            if ended.is_set() and served_by[-1] == "v2":
                return
            assert served.service.target(target).status_code == 200
            served_by.append(target)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield served_by
    finally:
        ended.set()
        thread.join()
        served.service.target("latest")


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_perf_analyzer_measures_the_service(served: Served, tmp_path: Path, wire: str) -> None:
    figures = measured(served, tmp_path / "figures.csv", wire, REQUESTS)
    assert float(figures["Inferences/Second"]) > 10
    assert float(figures["Server Compute Infer"]) > 0, "it read our statistics"


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_no_request_of_perf_analyzer_fails_in_a_swap(served: Served, tmp_path: Path, wire: str) -> None:
    with swapping(served) as versions:
        measured(served, tmp_path / "figures.csv", wire, REQUESTS_OVER_SWAPS)
    assert len(versions) > 3


def test_its_requests_over_http_are_answered_byte_for_byte(served: Served) -> None:
    """What it sent when it was recorded, for machines where it cannot run."""
    requests = recorded("http")
    assert [name.rpartition("/")[2] for name, _ in requests] == ["m", "config", "v2", "stats", "infer"]
    with Wire(served.service) as wire:
        for name, data in requests:
            wire.send(data)
            reply = wire.reply()
            assert reply.status == 200, f"{name}: {reply.body!r}"
    head = json.loads(reply.body[: int(reply.headers["inference-header-content-length"])])
    assert (head["model_version"], head["outputs"][0]["parameters"]) == ("v2", {"binary_data_size": 8})
    assert struct.unpack("<2f", reply.body[-8:]) == (score_of(2), 0.0)


def test_its_messages_over_grpc_are_answered_byte_for_byte(served: Served) -> None:
    requests = recorded("grpc")
    methods = ["ModelMetadata", "ModelConfig", "ServerMetadata", "ModelInfer", "ModelStatistics"]
    assert [name.rpartition("/")[2] for name, _ in requests] == methods
    with grpc.insecure_channel(served.grpc) as channel:
        answers = {name: channel.unary_unary(name)(data, timeout=30) for name, data in requests}
    assert struct.pack("<2f", score_of(2), 0.0) in answers["/inference.GRPCInferenceService/ModelInfer"]
