"""A model that takes as long as the picture says: the brighter, the longer.

A black picture takes no time, so loading and checking are quick. `Pace` measures what one step of
brightness costs on this machine and then gives the picture that takes about so many seconds.
"""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import builders
from tests.e2e.harness import Service
from tests.e2e.pictures import grey
from tests.e2e.stores import Store

_SIDE = 160
_TURNS_OF_ONE_LEVEL = 250

# Making one costs each client more than its request; nobody uses it.
_UNUSED = ssl.create_default_context()


def add_slow(store: Store, version: str = "v1", code: int = 1, name: str = "slow") -> None:
    """Import a version whose time is told by the picture."""
    folder = store.source(version, code, name, config={"golden": [{"file": "black.bmp"}]})
    (folder / "black.bmp").write_bytes(grey(0))
    _make_slow(folder / "weights.onnx", code)
    store.take(folder)


class Pace:
    """How bright a picture must be to take some seconds."""

    def __init__(self, service: Service, model: str = "slow") -> None:
        """Measure with pictures that take ever longer, until the clock is no matter, and when others rest."""
        level = 1
        while (took := _took(service, model, level)) <= 0.1 and level < 64:
            level *= 4
        self._seconds = min(took, *(_took(service, model, level) for _ in range(3))) / level

    def picture(self, seconds: float) -> bytes:
        """A picture that takes about so long when a core is free, and longer when none is."""
        return grey(min(255, max(1, round(seconds / self._seconds))))


def leases(service: Service) -> float:
    """How many requests have the slow model now, in the service's only worker or as all looked last."""
    for _ in range(2):  # the second look begins when the figures of the first are told
        service.client.post("/api/v1/reload").raise_for_status()
    return service.figure("model_leases", model="slow")


def _took(service: Service, model: str, level: int) -> float:
    answer = service.predict(grey(level), model=model)
    assert answer.status_code == 200, answer.text
    return float(answer.json()["timings_ms"]["inference"]) / 1000


def _make_slow(path: Path, code: int) -> None:
    scores = np.array([[builders.score_of(code), 0.0]], np.float32)
    weights = {
        "scores_of_code": scores,
        "nothing": np.float32(0),
        "turns_of_white": np.float32(255 * _TURNS_OF_ONE_LEVEL),
        "go": np.array(True),
        "start": np.full((_SIDE, _SIDE), 0.5, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], keepdims=0),
        helper.make_node("Mul", ["grey", "turns_of_white"], ["many"]),
        helper.make_node("Round", ["many"], ["round"]),
        helper.make_node("Cast", ["round"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "go", "start"], ["worked"], body=_turn()),
        helper.make_node("ReduceMean", ["worked"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["weightless"]),
        helper.make_node("Add", ["weightless", "scores_of_code"], ["scores"]),
    ]
    body = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def _turn() -> onnx.GraphProto:
    """One turn: multiply by itself, kept between 0 and 1."""
    square = [_SIDE, _SIDE]
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "before"], ["product"]),
            helper.make_node("Sigmoid", ["product"], ["after"]),
            helper.make_node("Identity", ["still"], ["on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, square),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, square),
        ],
    )


class Asked:
    """A request to the slow model that is under way, in a thread of its own."""

    def __init__(self, service: Service, image: bytes) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(self._send, service.url, image)

    @staticmethod
    def _send(url: str, image: bytes) -> httpx.Response:
        headers = {"content-type": "image/bmp", "connection": "close"}
        with httpx.Client(verify=_UNUSED, trust_env=False, timeout=100) as client:
            return client.post(f"{url}/predict?model=slow", content=image, headers=headers)

    def answer(self) -> httpx.Response:
        """Wait for the answer."""
        try:
            return self._future.result()
        finally:
            self._pool.shutdown()
