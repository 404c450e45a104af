"""Vectors in Qdrant: one point for each picture and model, whatever comes twice. Needs okawari[events]."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from streaming.replies import FailedReply

COLLECTION = "image_embeddings"
#: What Qdrant answers to a vector that it will never take; keys and collections can be put right.
_LASTING = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Vector:
    """A point: its id, its values, and what is known of it."""

    id: str
    values: Sequence[float]
    payload: Mapping[str, Any]


def vector_id(image_metadata_id: str, model_name: str) -> str:
    """The same UUID for the same picture and model."""
    return str(uuid5(NAMESPACE_URL, f"okawari:{model_name}:{image_metadata_id}"))


class VectorsFailed(Exception):
    """A vector was not stored; `reply` says whether that passes."""

    def __init__(self, code: str, reason: str, *, transient: bool) -> None:
        super().__init__(reason)
        self.reply = FailedReply(code, reason[:500], transient)


class VectorStore(Protocol):
    """Keeps vectors."""

    def put(self, vector: Vector) -> None:
        """Store it, in the place of one with its id. Raises `VectorsFailed`."""
        ...


class QdrantVectors:
    """A collection, made with the first vector; distances are those of cosines."""

    def __init__(self, client: QdrantClient, collection: str = COLLECTION) -> None:
        self._client = client
        self._collection = collection
        self._dimension: int | None = None
        self._making = threading.Lock()

    def put(self, vector: Vector) -> None:
        """See `VectorStore`."""
        try:
            dimension = self._dimension or self._made(len(vector.values))
            if dimension != len(vector.values):
                raise VectorsFailed(
                    "dimension_mismatch",
                    f"{self._collection} holds vectors of {dimension} values, this one has "
                    f"{len(vector.values)}: choose another collection for another model",
                    transient=False,
                )
            point = models.PointStruct(id=vector.id, vector=list(vector.values), payload=dict(vector.payload))
            self._client.upsert(self._collection, [point], wait=True)
        except (ApiException, QdrantException, OSError) as error:
            status = error.status_code if isinstance(error, UnexpectedResponse) else None
            if status == 404:
                self._dimension = None  # somebody has dropped the collection
            raise VectorsFailed(
                "vector_store", f"Qdrant: {error}".partition("\n")[0], transient=status not in _LASTING
            ) from None

    def _made(self, dimension: int) -> int:
        """The dimension of the collection, which is made where it is absent."""
        with self._making:
            if not self._client.collection_exists(self._collection):
                sizes = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
                try:
                    self._client.create_collection(self._collection, vectors_config=sizes)
                except (ApiException, ValueError):
                    # Another process was faster, or it cannot be made.
                    if not self._client.collection_exists(self._collection):
                        raise
            params = self._client.get_collection(self._collection).config.params.vectors
            found = params.size if isinstance(params, models.VectorParams) else dimension
            self._dimension = found
            return found
