"""`/models/{name}/versions/{version}`: what the `gate` found about it, and its published `comparison`."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Literal

import anyio.to_thread
from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from api.access.needs import Need
from api.errors import ComparisonNotFound
from api.http.model_bodies import report_of
from api.http.schemas import ErrorBody
from api.http.small_bodies import SmallBodyRoute, managed_route
from api.parts import GetParts, ServiceParts
from hotswap.errors import Conflict, ModelNotFound, VersionNotFound
from hotswap.gate import GatePolicy, Result
from hotswap.version_status import VersionStatus
from manifest.tags import ModelTag, as_version
from registry.gate_report import GateReport

logger = logging.getLogger("bentoml.okawari.api")

PATH = "/models/{name}/versions/{version}/gate"
COMPARISON = "/models/{name}/versions/{version}/comparison"
#: The checks whose failure may be allowed.
Allowable = Literal["contract", "answers", "golden pictures", "metamorphic", "agreement", "latency", "guard"]


class VerdictBody(BaseModel):
    """What one check found, and the numbers behind it."""

    result: Result
    reason: str
    numbers: dict[str, float]


class GateBody(BaseModel):
    """What the gate found about a version; `result` is null where it was not judged."""

    model: str
    version: str
    digest: str | None
    served: bool = Field(description="it has answered before: it is trusted, and not judged")
    policy: GatePolicy | None
    result: Result | None = Field(description="the worst of all verdicts, without those that were allowed")
    refused: str | None = Field(description="why it may not answer; null: it may")
    compared: str | None = Field(description="the version that it was held against")
    judged: datetime | None
    allowed: list[str] = Field(description="checks whose failure somebody has accepted for these files")
    verdicts: dict[str, VerdictBody] = Field(description="by the name of the check, in the order of asking")


class JudgeBody(BaseModel, extra="forbid"):
    """The body of `POST …/gate`; `{}` forgets the verdict and allows nothing more.

    With `refuse` the version is refused instead, and taken back at once where it is watched.
    """

    allow: list[Allowable] = Field(default=[], description="accept that these checks fail for these files")
    refuse: str | None = Field(
        default=None, min_length=1, max_length=500, description="why it may not answer"
    )


def router(parts: GetParts) -> APIRouter:
    """The routes; each request calls `parts`."""
    both = APIRouter(tags=["models"])
    reading = APIRouter(route_class=SmallBodyRoute)
    changing = APIRouter(
        route_class=managed_route(need=Need.WRITE),
        dependencies=[Security(HTTPBearer(auto_error=False, scheme_name="adminToken"))],
    )

    @reading.get(PATH, operation_id="gate", responses={404: {"model": ErrorBody}})
    async def gate(name: str, version: str) -> GateBody:
        """What the gate found about a version: each check with its reason and its numbers."""
        await parts().control.fresh()
        return _body(_report(parts(), name, version))

    @reading.get(
        COMPARISON,
        operation_id="comparison",
        response_class=Response,
        responses={
            200: {"content": {"text/html": {"schema": {"type": "string"}}}},
            **{status: {"model": ErrorBody} for status in (404, 503)},
        },
    )
    async def comparison(name: str, version: str) -> HTMLResponse:
        """The page on which a version is held against another one, with a button that promotes it."""
        await parts().control.fresh()
        status = _status(parts(), name, version)
        tag, page = ModelTag(name, status.version), None
        if status.digest is not None:
            page = await anyio.to_thread.run_sync(parts().comparisons.read, tag, status.digest)
        if page is None:
            raise ComparisonNotFound(
                f"{tag} was not compared: okawari compare {name}:OTHER {tag} --images DIR --publish"
            )
        return HTMLResponse(page)

    @changing.post(
        PATH,
        operation_id="judge",
        status_code=202,
        responses={status: {"model": ErrorBody} for status in (400, 401, 403, 404, 409, 413, 415, 503)},
    )
    async def judge(name: str, version: str, body: JudgeBody, request: Request) -> GateBody:
        """Forget the verdict on a version and have it judged anew, if it is wanted."""
        status = _status(parts(), name, version)
        if status.digest is None:
            raise Conflict(
                f"{name}:{status.version} has no digest yet: {status.reason or 'it is not settled'}"
            )
        tag, actor = ModelTag(name, status.version), request.state.actor
        if body.refuse is not None:
            refuse = parts().verdicts.refuse
            await anyio.to_thread.run_sync(refuse, tag, status.digest, actor, body.refuse)
            logger.info("%s refuses %s: %s", actor, tag, body.refuse)
        else:
            again = parts().verdicts.judge_again
            allowed = await anyio.to_thread.run_sync(again, tag, status.digest, body.allow)
            logger.info("%s lets %s be judged anew, allowing %s", actor, tag, sorted(allowed) or "nothing")
        await parts().control.reload()
        return _body(_report(parts(), name, version))

    both.include_router(reading)
    both.include_router(changing)
    return both


def _body(found: GateReport) -> GateBody:
    return GateBody.model_validate(found.document())


def _status(parts: ServiceParts, name: str, version: str) -> VersionStatus:
    if not parts.view.known(name):
        raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
    versions = {each.version: each for each in parts.view.model(name).versions}
    exact = as_version(version, versions)
    if exact not in versions:
        raise VersionNotFound(f"there is no version {exact[:64]} of {name}")
    return versions[exact]


def _report(parts: ServiceParts, name: str, version: str) -> GateReport:
    status = _status(parts, name, version)
    return report_of(parts.verdicts, name, status)
