"""`/api/v1/detect`: what devices hand in is answered and kept; a batch of it; health and metrics for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import context, errors
from api.detection_parts import DetectionParts, GetDetection
from api.detector import GROUP, Kept
from api.device_auth import check_device
from api.hand_in import HandIn
from api.http import batch_form, body, content_encoding, detect_form
from api.http.batch_form import BatchFields
from api.http.spooled_form import SpooledForm, SpooledPicture, spooled
from hotswap.errors import DeadlineExceeded, ModelNotReady, ServingError, ShuttingDown, StateUnavailable
from lineage.records import ImageRecord
from telemetry.observers import CONTENT_TYPE

PREFIX = "/api/v1"
DETECT, BATCH = f"{PREFIX}/detect", f"{PREFIX}/detect/batch"
HEALTH, METRICS = f"{PREFIX}/health", f"{PREFIX}/metrics"
#: Bytes of a form beside its pictures.
FORM_BYTES = 1_048_576
DETECT_SECONDS = 10.0


def limits(max_picture_bytes: int, max_batch: int, batch_timeout: float) -> dict[str, tuple[int, float]]:
    """Bytes of a body and seconds of a request, by path."""
    return {
        DETECT: (max_picture_bytes + FORM_BYTES, DETECT_SECONDS),
        BATCH: (max_batch * (max_picture_bytes + FORM_BYTES), batch_timeout),
    }


def table(parts: GetDetection) -> list[BaseRoute]:
    """The routes; each request calls `parts`, which may raise `ServingError`."""

    async def detect(request: Request) -> Response:
        return await _answered(_detect(request, parts))

    async def batch(request: Request) -> Response:
        return await _answered(_batch(request, parts))

    async def health(request: Request) -> Response:  # noqa: ARG001 - the framework's signature
        return await _answered(_health(parts))

    async def metrics(request: Request) -> Response:  # noqa: ARG001
        text = await anyio.to_thread.run_sync((await parts()).metrics)
        return Response(text, media_type=CONTENT_TYPE)

    return [
        Route(DETECT, detect, methods=["POST"]),
        Route(BATCH, batch, methods=["POST"]),
        Route(HEALTH, health, methods=["GET"]),
        Route(METRICS, metrics, methods=["GET"]),
    ]


async def _answered(answering: Any) -> Response:
    try:
        answer: Response = await answering
    except ServingError as error:
        return errors.response(error)
    return answer


async def _admitted(request: Request, parts: DetectionParts) -> str | None:
    """The device whose token came, None for one of a user; before any of the body is read."""
    content_type = request.headers.get("content-type", "")
    caller = context.current.get().identity
    # Whose own token allows it, hands in for any device.
    device = await anyio.to_thread.run_sync(parts.auth.device, request.headers) if caller is None else None
    detect_form.check_media(content_type)
    if content_encoding.of_body(request.headers) is not None:
        raise errors.UnsupportedEncoding("Content-Encoding: pictures are compressed already; send it plain")
    parts.check_room()
    return device


async def _detect(request: Request, get_parts: GetDetection) -> Response:
    parts, state = await get_parts(), context.current.get()
    sender = await _admitted(request, parts)
    data = await body.read(request)
    hand_in = detect_form.parse(data, request.headers)
    check_device(sender, hand_in.device_id)
    await anyio.to_thread.run_sync(parts.rates.take, hand_in.device_id)
    (outcome,) = await parts.detector.answer([hand_in], state.request_id, state.deadline)
    if isinstance(outcome, ServingError):
        raise outcome
    return _json(answer_of(outcome.record, state.request_id), again=outcome.again)


async def _health(get_parts: GetDetection) -> Response:
    reason = (await get_parts()).not_ready()
    if reason is not None:
        raise ModelNotReady(reason)
    return _json({"status": "healthy"})


# --- a batch -------------------------------------------------------------------------------------


async def _batch(request: Request, get_parts: GetDetection) -> Response:
    parts = await get_parts()
    if not parts.batches:
        raise errors.NotSupported("batches are disabled here: batch_processing.enabled; send pictures singly")
    sender = await _admitted(request, parts)
    with parts.batch_places.taken(sender):
        return await _taken(request, sender, parts)


async def _taken(request: Request, sender: str | None, parts: DetectionParts) -> Response:
    state = context.current.get()
    form = await spooled(
        _pieces(request),
        request.headers.get("content-type", ""),
        parts.spool,
        most=parts.max_batch,
        most_bytes=parts.max_picture_bytes,
        let_go=state.let_go,
    )
    try:
        fields = batch_form.fields(form, request.headers)
        check_device(sender, fields.device_id)
        await anyio.to_thread.run_sync(parts.rates.take, fields.device_id, len(form.pictures))
        async with _entered(parts.batch()):
            outcomes = await _outcomes(form, fields, parts)
            await _commit(outcomes, parts)
    finally:
        await anyio.to_thread.run_sync(form.remove)
    return _json(_report(form, outcomes, state.request_id))


@asynccontextmanager
async def _entered(context_manager: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Enter and leave in a thread: a database may be slow."""
    await anyio.to_thread.run_sync(context_manager.__enter__)
    try:
        yield
    finally:
        await anyio.to_thread.run_sync(context_manager.__exit__, None, None, None)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces, each before the request's deadline."""
    stream = request.stream().__aiter__()
    while True:
        try:
            yield await body.in_time(anext(stream))
        except StopAsyncIteration:
            return


async def _outcomes(
    form: SpooledForm, fields: BatchFields, parts: DetectionParts
) -> list[Kept | ServingError]:
    """What became of each picture; those that the end or the deadline came before are not tried."""
    state, outcomes = context.current.get(), list[Kept | ServingError]()
    for start in range(0, len(form.pictures), GROUP):
        group = form.pictures[start : start + GROUP]
        if (error := _over(parts, state.deadline)) is not None:
            outcomes += [error] * len(group)
            continue
        outcomes += await _group(start, group, fields, parts)
    return outcomes


def _over(parts: DetectionParts, deadline: float) -> ServingError | None:
    if parts.ending():
        return ShuttingDown("the service is ending; send this picture again")
    if time.monotonic() >= deadline:
        return DeadlineExceeded("the batch took too long; send this picture again")
    return None


async def _group(
    start: int, pictures: Sequence[SpooledPicture], fields: BatchFields, parts: DetectionParts
) -> list[Kept | ServingError]:
    state = context.current.get()
    read = [
        await anyio.to_thread.run_sync(partial(_read, fields, start + index, picture))
        for index, picture in enumerate(pictures)
    ]
    whole = [each for each in read if isinstance(each, HandIn)]
    answers = iter(await parts.detector.answer(whole, state.request_id, state.deadline))
    return [next(answers) if isinstance(each, HandIn) else each for each in read]


def _read(fields: BatchFields, index: int, picture: SpooledPicture) -> HandIn | ServingError:
    try:
        return fields.hand_in(index, picture)
    except ServingError as error:
        return error


async def _commit(outcomes: Sequence[Kept | ServingError], parts: DetectionParts) -> None:
    """Commit what was kept as one. What is away now is committed later: the pictures are kept already."""
    kept = [each.record.image_id for each in outcomes if isinstance(each, Kept) and not each.again]
    if kept:
        with suppress(StateUnavailable):
            await anyio.to_thread.run_sync(parts.commit, kept)


def _report(
    form: SpooledForm, outcomes: Sequence[Kept | ServingError], request_id: str
) -> Mapping[str, object]:
    results: list[Mapping[str, object]] = []
    failures: list[Mapping[str, object]] = []
    for picture, outcome in zip(form.pictures, outcomes, strict=True):
        if isinstance(outcome, Kept):
            results.append({"filename": picture.filename, **answer_of(outcome.record, request_id)})
        else:
            failures.append({"filename": picture.filename, "code": outcome.code, "message": outcome.message})
    return {
        "results": results,
        "total_processed": len(results),
        "total_failed": len(failures),
        "failed_images": [each["filename"] for each in failures],
        "failures": failures,
        "request_id": request_id,
    }


# --- answers -------------------------------------------------------------------------------------


def answer_of(record: ImageRecord, request_id: str) -> dict[str, object]:
    """A kept picture as its device is answered; the same for every retry but for `request_id`."""
    run = record.run
    return {
        "image_id": str(record.image_id),
        "lakefs_path": record.path,
        "detections": [
            {
                "id": str(found.id),
                "image_id": str(record.image_id),
                "bbox": list(found.bbox),
                "confidence": found.confidence,
                "label": found.label,
                "created_at": found.created_at,
            }
            for found in record.found
        ],
        "inference_time_ms": None if run is None else run.duration_ms,
        "model_version": None if run is None else run.model_version,
        "model": None if run is None else run.model_name,
        "model_digest": None if run is None else run.model_digest,
        "request_id": request_id,
    }


def _json(document: Mapping[str, object], *, again: bool = False) -> Response:
    headers = {"Idempotent-Replayed": "true"} if again else {}
    text = orjson.dumps(document, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)
    return Response(text, 200, headers, "application/json")
