"""`POST /infer_json`: a message names a picture in a bucket; the answer is that of `/predict`, and more."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api import context, errors
from api.http.schemas import ErrorBody, PredictBody, named, predict_body
from api.http.small_bodies import SmallBodyRoute
from api.object_source import read_in_time
from api.parts import GetParts, ServiceParts
from hotswap.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotReady,
    ModelRequired,
    ServingError,
    VersionFailed,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.predictions import Answer, Options, Picture, PredictRequest
from manifest.tags import LATEST, as_version
from manifest.teams import Team

INFER_JSON = "/infer_json"
#: What is wrong with a team's own model is put right by an import, and no fault of the message.
_NOT_THERE = (ModelNotFound, VersionNotFound, VersionNotLoaded, VersionFailed, ModelRequired)


class InferIn(BaseModel, extra="forbid", protected_namespaces=()):
    """A message: where the picture is. Without `model` the team's answers, else the service's default."""

    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(min_length=1, max_length=1024)
    model: str | None = Field(default=None, max_length=128)
    model_tag: str | None = Field(
        default=None, max_length=128, description="a version, `name:version`, or `latest`: what serves"
    )
    extra: dict[str, Any] | None = Field(default=None, description="for the adapter of a team")


class InferBody(PredictBody):
    """The answer to `POST /infer_json`: that of `/predict`, and the best label by itself."""

    team: str | None
    bucket: str
    key: str
    label: str | None = Field(description="of the best detection; null where nothing was found")
    score: float | None
    confidence: float | None = Field(description="another name of score")
    latency_ms_model: float = Field(description="milliseconds in the model itself")


def router(parts: GetParts) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["predict"], route_class=SmallBodyRoute)
    statuses = (400, 403, 404, 409, 413, 415, 422, 429, 500, 503, 504, 507)

    @routes.post(
        INFER_JSON,
        operation_id="infer_json",
        response_model=InferBody,
        responses={status: {"model": ErrorBody, "description": "ErrorBody"} for status in statuses},
    )
    async def infer_json(message: InferIn) -> Response:
        """Answer for a picture in a bucket."""
        try:
            return await _answer(parts(), message)
        except ServingError as error:
            return errors.response(error)

    return routes


async def _answer(parts: ServiceParts, message: InferIn) -> Response:
    state, team = context.current.get(), parts.team
    model, version = _wanted(message, team)
    options = _options(message, team)
    parts.check_room()
    with parts.recorder.inference(state.request_id, model, state.received) as outcome:
        data = await read_in_time(parts.objects, message.bucket, message.key, state.deadline, state.hold)
        request = PredictRequest(
            request_id=state.request_id,
            key=state.route_key,
            pictures=(Picture(encoded=data),),
            deadline=state.deadline,
            model=model,
            version=version,
            options=options,
            usual=None if team is None else _usual(team),
            received=state.received,
        )
        try:
            outcome.answer = answer = await parts.data_plane.predict(request)
        except _NOT_THERE as error:
            if message.model is None and message.model_tag is None:
                raise ModelNotReady(f"the model of this service is not ready: {error.message}") from None
            raise
        body = _body(answer, message, team)
    return Response(orjson.dumps(body), 200, named(answer), "application/json")


def _wanted(message: InferIn, team: Team | None) -> tuple[str | None, str | None]:
    """The model and the version that are asked for; None: the default, what serves."""
    model, tag = message.model, message.model_tag
    if model is None and team is not None:
        model = team.model
    if tag is not None and ":" in tag:
        named_model, _, tag = tag.partition(":")
        model = message.model or named_model
    return model, None if tag is None or tag == LATEST else as_version(tag)


def _options(message: InferIn, team: Team | None) -> Options:
    try:
        extra = None if message.extra is None else orjson.dumps(message.extra).decode()
    except TypeError as error:
        raise BadRequest(f"extra: {error}") from None
    if team is None or team.max_detections is None:
        return Options(extra=extra)
    return Options(extra=extra, max_detections=team.max_detections)


def _usual(team: Team) -> Options:
    return Options(threshold=team.threshold, text_prompt=team.text_prompt)


def _body(answer: Answer, message: InferIn, team: Team | None) -> dict[str, Any]:
    found = answer.predictions[0].detections
    score = found[0].score if found else None
    return {
        **predict_body(answer),
        "team": None if team is None else team.name,
        "bucket": message.bucket,
        "key": message.key,
        "label": found[0].label if found else None,
        "score": score,
        "confidence": score,
        "latency_ms_model": round(answer.stages.inference, 3),
    }
