"""The input and output types of the predict API for BentoML.

The only file of the room that imports BentoML. BentoML's own image type answers a broken JPEG with 500,
fetches URLs in form fields and has no limits, so requests are parsed here instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import bentoml
from pydantic import Field
from starlette.requests import Request

from api import context, options, predict_fields
from api.http import body, content_encoding, image_response
from api.http.schemas import PredictBody
from api.parts import ServiceParts
from hotswap.errors import PICTURE_FORMATS, ServingError


class PredictArguments(NamedTuple):
    """The argument with which BentoML calls the API."""

    fields: predict_fields.PredictFields

    @property
    def model_fields(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return self._fields


def _described(name: str) -> Any:
    """A field of BentoML's document and generated client; `predict_fields` does the checks."""
    return Field(default=None, description=_OPTIONS[name]["description"])


_OPTIONS = options.schema()


class PredictInput(bentoml.IODescriptor):  # type: ignore[misc]
    """`image` and optional fields: as a form, as raw bytes with a query, or as JSON with base64."""

    #: Set by the composition root before the first request.
    parts: ClassVar[ServiceParts]

    image: Path = Field(description=PICTURE_FORMATS)
    model: str | None = Field(default=None, description="default: the service's default model")
    version: str | None = Field(
        default=None, description="default: the serving version; an integer n means vn"
    )
    threshold: float | None = _described("threshold")
    box_threshold: float | None = _described("box_threshold")
    max_detections: int | None = _described("max_detections")
    text_prompt: str | None = _described("text_prompt")
    text_threshold: float | None = _described("text_threshold")
    nms_threshold: float | None = _described("nms_threshold")
    points: list[list[float]] | None = _described("points")
    boxes: list[list[float]] | None = _described("boxes")
    top_k: int | None = _described("top_k")
    mask_format: str | None = _described("mask_format")

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> PredictArguments:  # noqa: ARG003
        """Parse the request. An error is stored in the context, since BentoML would log it as a crash.

        BentoML reads each of `model_fields` from the result. A pydantic model would cause a warning per
        request, because `model_fields` would be read from an instance.
        """
        state = context.current.get()
        try:
            fields = await cls._read(request)
        except ServingError as problem:
            state.problem = problem
            fields = predict_fields.PredictFields(image=b"")
        return PredictArguments(fields)

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
    """The input of `/predict/annotated`, which also reads the `Accept` header."""

    @classmethod
    async def _read(cls, request: Request) -> predict_fields.PredictFields:
        context.current.get().accepted = image_response.acceptable(request.headers.getlist("accept"))
        return await super()._read(request)


class PredictOutput(PredictBody, bentoml.IODescriptor):  # type: ignore[misc]
    """The JSON answer, for BentoML's documents and generated client."""


class AnnotatedOutput(bentoml.IODescriptor):  # type: ignore[misc]
    """The annotated picture, for BentoML's documents and generated client, which writes it to a file."""

    media_type: ClassVar[str | None] = image_response.OFFERED[0]

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        """BentoML's schema of a file."""
        return {"type": "file", "format": "image"}
