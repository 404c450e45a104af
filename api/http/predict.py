"""The input of the generated predict API, as BentoML sees it.

Only this file of the room knows BentoML. Its own image type turns a broken JPEG into a 500, fetches
URLs that stand in form fields and has no limits; so the request is read here, by our own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import bentoml
from pydantic import Field
from starlette.requests import Request

from api import context, predict_fields
from api.http import body, content_encoding, image_response
from api.http.schemas import PredictBody
from hotswap.dataplane import DataPlane
from hotswap.errors import PICTURE_FORMATS, ServingError


class Read(NamedTuple):
    """What BentoML calls the API with."""

    image: bytes
    model: str | None
    version: str | None
    threshold: float | None
    max_detections: int

    @property
    def model_fields(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return self._fields


@dataclass(frozen=True, slots=True)
class InputParts:
    """What reading a request calls. `check_room` raises `Overloaded` before a body is read in vain."""

    data_plane: DataPlane
    check_room: Callable[[], None]
    max_body_bytes: int


class PredictInput(bentoml.IODescriptor):  # type: ignore[misc]
    """`image` with optional fields, in a form, as raw bytes with a query, or as JSON with base64."""

    #: Set by the composition root before the first request.
    parts: ClassVar[InputParts]

    image: Path = Field(description=PICTURE_FORMATS)
    model: str | None = Field(default=None, description="left out: the default model")
    version: str | None = Field(default=None, description="left out: what serves; an integer n means vn")
    threshold: float | None = Field(default=None, ge=0, le=1, description="left out: the model's own")
    max_detections: int = Field(default=100, ge=1, le=1000)

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Read:  # noqa: ARG003
        """Read the request by our rules; leave a problem in the context: BentoML would log a crash.

        BentoML takes each of `model_fields` from the result, whatever it is; a model of pydantic would
        make a warning for every request, because that is read from an instance.
        """
        state = context.current.get()
        try:
            read = await cls._read(request)
        except ServingError as problem:
            state.problem = problem
            read = predict_fields.PredictFields(image=b"")
        return Read(read.image, read.model, read.version, read.threshold, read.max_detections)

    @classmethod
    async def _read(cls, request: Request) -> predict_fields.PredictFields:
        parts, state = cls.parts, context.current.get()
        parts.check_room()
        encoding = content_encoding.of_body(request.headers)
        data = await body.read(request)
        kind, query = request.headers.get("content-type", ""), request.query_params

        def work() -> predict_fields.PredictFields:
            plain = data
            if encoding is not None:
                plain = content_encoding.expand(data, encoding, parts.max_body_bytes, state.hold)
            return predict_fields.parse(kind, query, plain)

        if encoding is None and not predict_fields.is_long(kind, data):
            return work()
        return await parts.data_plane.aside(work, state.deadline)


class AnnotatedInput(PredictInput):
    """The same, where the answer's format is the caller's choice."""

    @classmethod
    async def _read(cls, request: Request) -> predict_fields.PredictFields:
        context.current.get().accepted = image_response.acceptable(request.headers.getlist("accept"))
        return await super()._read(request)


class PredictOutput(PredictBody, bentoml.IODescriptor):  # type: ignore[misc]
    """The answer, as BentoML's documents and its generated client see it."""


class AnnotatedOutput(bentoml.IODescriptor):  # type: ignore[misc]
    """A picture, as BentoML's documents and its generated client see it: the client writes it to a file."""

    media_type: ClassVar[str | None] = image_response.OFFERED[0]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """BentoML's word for a file."""
        return {"type": "file", "format": "image"}
