"""Vectors in Qdrant, in memory: the collection is made once, and what passes is told apart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from streaming.vectors import COLLECTION, QdrantVectors, Vector, VectorsFailed, vector_id


def _vector(number: int, size: int = 3) -> Vector:
    return Vector(vector_id(f"i-{number}", "m"), [1.0] * size, {"number": number})


def test_many_first_vectors_at_once_make_one_collection() -> None:
    client = QdrantClient(":memory:")
    vectors, start = QdrantVectors(client), threading.Barrier(8)

    def put(number: int) -> None:
        start.wait(20)
        vectors.put(_vector(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(8)))
    assert client.count(COLLECTION).count == 8


def test_a_vector_of_another_size_never_fits() -> None:
    vectors = QdrantVectors(QdrantClient(":memory:"))
    vectors.put(_vector(1))
    with pytest.raises(VectorsFailed, match="holds vectors of 3 values, this one has 4") as caught:
        vectors.put(_vector(2, 4))
    assert not caught.value.reply.transient


@pytest.mark.parametrize(
    ("status", "transient"), [(400, False), (422, False), (401, True), (404, True), (409, True), (503, True)]
)
def test_what_can_be_put_right_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, status: int, transient: bool
) -> None:
    client = QdrantClient(":memory:")
    vectors = QdrantVectors(client)
    vectors.put(_vector(1))

    def refused(*_: Any, **__: Any) -> None:
        raise UnexpectedResponse(status, "no", b"", httpx.Headers())

    with monkeypatch.context() as away:
        away.setattr(client, "upsert", refused)
        with pytest.raises(VectorsFailed) as caught:
            vectors.put(_vector(2))
    assert caught.value.reply.transient is transient
    client.delete_collection(COLLECTION)
    if status == 404:
        vectors.put(_vector(3))
        assert client.count(COLLECTION).count == 1
