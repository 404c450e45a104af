"""The same model over every wire: pictures and tensors, HTTP and gRPC, beside `/predict`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from api.protos import inference_pb2, predictor_pb2
from benchmarks.client import LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.limit import Limit
from benchmarks.serving import HOST, Service

CONCURRENCY = 4
_V2 = "/inference.GRPCInferenceService/ModelInfer"
_OWN = "/okawari.v1.Predictor/Predict"


@dataclass(frozen=True, slots=True)
class Run:
    """One load over one wire. Processor time is in milliseconds for one answer."""

    rate: float
    p50: float
    p99: float
    cpu_ms: float
    client_ms: float
    failed: int


@dataclass(slots=True)
class Wire:
    """One way to ask, and what came of it over all rounds; `limits` are the limit's rates beside it."""

    name: str
    send: Callable[[float], Run]
    runs: list[Run] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def of_limit(self) -> Spread:
        """Throughput as a share of the limit."""
        return Spread.of([run.rate / limit for run, limit in zip(self.runs, self.limits, strict=True)])

    def figure(self, name: str) -> Spread:
        """A figure of `Run` over the rounds."""
        return Spread.of([float(getattr(run, name)) for run in self.runs])


class Wires:
    """All wires of one service. The limit is pictures: tensors need neither decoding nor resizing."""

    def __init__(self, service: Service, model: str, pictures: Sequence[bytes], room: Path) -> None:
        self._service = service
        self._model = model
        self._room = room
        tensor = self._tensor()
        images = [(self._bytes_input([each]), each) for each in pictures]
        self.wires = [
            self._http("/predict", [request(HOST, service.port, each) for each in pictures]),
            self._http("V2 picture, binary", [self._v2_binary(*each) for each in images]),
            self._http("V2 tensor, binary", [self._v2_binary(*tensor)]),
            self._http("V2 tensor, JSON", [self._v2_json(*tensor)]),
            self._grpc("gRPC V2 picture", _V2, [self._infer(*each) for each in images]),
            self._grpc("gRPC V2 tensor", _V2, [self._infer(*tensor)]),
            self._grpc("gRPC okawari.v1", _OWN, [self._own(each) for each in pictures]),
        ]

    def round(self, limit: Limit, seconds: float) -> Iterator[str]:
        """Take one round, telling what comes next."""
        for wire in self.wires:
            yield wire.name
            before = limit.run(0, seconds).rate
            wire.runs.append(wire.send(seconds))
            wire.limits.append((before + limit.run(0, seconds).rate) / 2)

    def _tensor(self) -> tuple[dict[str, object], bytes]:
        """An input of the graph, and its bytes."""
        found = httpx.get(f"{self._service.url}/v2/models/{self._model}").json()["inputs"][0]
        shape = [1 if side < 0 else side for side in found["shape"]]
        array = np.random.default_rng(0).random(shape, np.float32).round(3)
        return {"name": found["name"], "datatype": found["datatype"], "shape": shape}, array.tobytes()

    @staticmethod
    def _bytes_input(pictures: Sequence[bytes]) -> dict[str, object]:
        return {"name": "image", "datatype": "BYTES", "shape": [len(pictures)]}

    def _v2_binary(self, given: dict[str, object], data: bytes) -> bytes:
        raw = _raw(given, data)
        tensor = {**given, "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        extra = f"Inference-Header-Content-Length: {len(head)}\r\nContent-Type: application/octet-stream"
        return self._post(extra, head + raw)

    def _v2_json(self, given: dict[str, object], data: bytes) -> bytes:
        values = [round(float(value), 3) for value in np.frombuffer(data, np.float32)]
        body = json.dumps({"inputs": [{**given, "data": values}]}, separators=(",", ":")).encode()
        return self._post("Content-Type: application/json", body)

    def _post(self, headers: str, body: bytes) -> bytes:
        head = (
            f"POST /v2/models/{self._model}/infer HTTP/1.1\r\nHost: {HOST}:{self._service.port}\r\n"
            f"{headers}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _infer(self, given: dict[str, object], data: bytes) -> bytes:
        asked = inference_pb2.ModelInferRequest(
            model_name=self._model, raw_input_contents=[_raw(given, data)]
        )
        asked.inputs.add(name=str(given["name"]), datatype=str(given["datatype"]), shape=given["shape"])
        return bytes(asked.SerializeToString())

    def _own(self, picture: bytes) -> bytes:
        return bytes(predictor_pb2.PredictRequest(image=picture, model=self._model).SerializeToString())

    def _http(self, name: str, requests: Sequence[bytes]) -> Wire:
        def send(seconds: float) -> Run:
            before = sum(self._service.cpu_seconds())
            until = time.monotonic() + seconds
            load = LoadGenerator(self._service.address, requests, CONCURRENCY).run(
                lambda: time.monotonic() >= until
            )
            times = [one.milliseconds for one in load.done]
            return self._run(times, load.seconds, load.cpu_seconds, load.failed, before)

        return Wire(name, send)

    def _grpc(self, name: str, method: str, requests: Sequence[bytes]) -> Wire:
        folder = self._room / name.replace(" ", "-")
        folder.mkdir()
        for at, data in enumerate(requests):
            (folder / f"{at:04}").write_bytes(data)
        command = [sys.executable, "-m", "benchmarks.rpc_client", f"{HOST}:{self._service.grpc_port}", method]

        def send(seconds: float) -> Run:
            before = sum(self._service.cpu_seconds())
            done = subprocess.run(
                [*command, str(CONCURRENCY), str(seconds), str(folder)], capture_output=True, check=True
            )
            seen = json.loads(done.stdout)
            return self._run(
                seen["milliseconds"], seen["seconds"], seen["cpu_seconds"], seen["failed"], before
            )

        return Wire(name, send)

    def _run(self, times: list[float], seconds: float, client: float, failed: int, before: float) -> Run:
        count = max(1, len(times))
        spent = sum(self._service.cpu_seconds()) - before
        return Run(
            rate=len(times) / seconds,
            p50=percentile(times, 0.5) if times else 0.0,
            p99=percentile(times, 0.99) if times else 0.0,
            cpu_ms=spent * 1e3 / count,
            client_ms=client * 1e3 / count,
            failed=failed,
        )


def _raw(given: dict[str, object], data: bytes) -> bytes:
    """A tensor as the binary extension has it: elements of BYTES begin with their length."""
    return len(data).to_bytes(4, "little") + data if given["datatype"] == "BYTES" else data
