"""Vectors in Qdrant: one point for each picture and model, whatever comes twice. Needs okawari[events]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from streaming.replies import FailedReply

COLLECTION = "image_embeddings"


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
        except (ApiException, OSError) as error:
            lasting = isinstance(error, UnexpectedResponse) and 400 <= (error.status_code or 0) < 429
            raise VectorsFailed(
                "vector_store", f"Qdrant: {error}".partition("\n")[0], transient=not lasting
            ) from None

    def _made(self, dimension: int) -> int:
        """The dimension of the collection, which is made where it is absent."""
        if not self._client.collection_exists(self._collection):
            sizes = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
            self._client.create_collection(self._collection, vectors_config=sizes)
        params = self._client.get_collection(self._collection).config.params.vectors
        self._dimension = params.size if isinstance(params, models.VectorParams) else dimension
        return self._dimension
