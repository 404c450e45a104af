"""Requests of the Open Inference Protocol and of V1 without pause, of every kind in turn, and what became of
each.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests import builders
from tests.api.open_inference.asking import HEADER, binary, joined, packed, path, pictures, pixels
from tests.e2e.harness import Service
from tests.e2e.load import Ask, Load, Shot
from tests.e2e.pictures import picture

_JPEG = picture()
_ROWS, _COLUMN = "v1 rows", "v1 column"


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to ask."""

    name: str
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


def kinds(model: str) -> list[Kind]:
    """Tensors and pictures, each in JSON and in binary form, the metadata, and pictures by V1."""
    text = json.dumps({"inputs": [pixels()]}).encode()
    texts = json.dumps({"inputs": [pictures(_JPEG, _JPEG)]}).encode()
    asks = {"parameters": {"binary_data_output": True}}
    tensors = joined(binary("image", "FP32", [1, 3, 32, 32], bytes(12288)), **asks)
    files = joined(binary("image", "BYTES", [2], packed(_JPEG, _JPEG)), **asks)
    rows = [{"b64": base64.b64encode(_JPEG).decode()}] * 2
    infer, predict = path(model), f"/v1/models/{model}:predict"
    return [
        Kind("tensors", "POST", infer, text),
        Kind("binary tensors", "POST", infer, tensors[0], {HEADER: str(tensors[1])}),
        Kind("pictures", "POST", infer, texts),
        Kind("binary pictures", "POST", infer, files[0], {HEADER: str(files[1])}),
        Kind("metadata", "GET", path(model, what="")),
        Kind(_ROWS, "POST", predict, json.dumps({"instances": rows}).encode()),
        Kind(_COLUMN, "POST", predict, json.dumps({"inputs": {"image": rows}}).encode()),
    ]


class ProtocolLoad(Load):
    """Like `Load`. `told` notes which digest each version was said to have, `counts` the kinds."""

    def __init__(self, service: Service, *, kept: int = 3, fresh: int = 2, model: str = "m") -> None:
        super().__init__(service, kept=kept, fresh=fresh, model=model)
        self._kinds = itertools.cycle(kinds(model))
        self.digests: set[tuple[str, str]] = set()
        self.counts: dict[str, int] = {each.name: 0 for each in kinds(model)}

    def _one(self, connection: http.client.HTTPConnection, fresh: bool, ask: Ask) -> Shot:
        """The next kind in turn; `ask` is for loads of `/predict`."""
        kind = next(self._kinds)
        headers = dict(kind.headers or {}) | ({"Connection": "close"} if fresh else {})
        begun = time.monotonic()
        try:
            connection.request(kind.method, kind.path, kind.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Shot(begun, time.monotonic(), 0, why=repr(error), fresh=fresh)
        closes = answer.headers.get("Connection", "").lower() == "close"
        if answer.status != 200:
            why = f"{kind.name}: {body.decode('utf-8', 'replace')[:300]}"
            return Shot(begun, time.monotonic(), answer.status, None, None, why, closes, fresh)
        self.counts[kind.name] += 1
        claimed, told = self._versions(kind, answer.headers.get(HEADER), body)
        return Shot(begun, time.monotonic(), 200, claimed, told, kind.name, closes, fresh)

    def _versions(self, kind: Kind, size: str | None, body: bytes) -> tuple[str, str]:
        """The version that an answer claims, and the one that its content tells."""
        document = json.loads(body if size is None else body[: int(size)])
        if kind.method == "GET":
            (claimed,) = document["versions"]
            self.digests.add((claimed, document["properties"]["digest"]))
            return claimed, claimed
        claimed = document["model_version"]
        if kind.name in (_ROWS, _COLUMN):
            return claimed, _told(_scores(document))
        self.digests.add((claimed, document["parameters"]["digest"]))
        return claimed, _told(_best(document["outputs"][0], size, body))


def _told(best: list[float]) -> str:
    """Who answered, by the first score of each picture or row."""
    codes = {builders.code_of(each) for each in best}
    return "+".join(f"v{code}" for code in sorted(codes))


def _scores(document: dict[str, Any]) -> list[float]:
    """The first score of each picture in an answer of V1."""
    rows = document.get("predictions")
    scores = document["outputs"]["scores"] if rows is None else [each["scores"] for each in rows]
    assert len(scores) == 2
    return [float(each[0]) for each in scores]


def _best(output: dict[str, Any], size: str | None, body: bytes) -> list[float]:
    """The first score of each row."""
    rows = output["shape"][0]
    if size is None:
        values = output["data"]
    else:
        start = int(size)
        data = body[start : start + output["parameters"]["binary_data_size"]]
        values = np.frombuffer(data, "<f4").tolist()
    return [float(values[row * len(values) // rows]) for row in range(rows)]
