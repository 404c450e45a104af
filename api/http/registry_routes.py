"""`/api/v1/registry`: versions, their statuses, promotion and rollback."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, BeforeValidator, Field, StrictInt, StrictStr

from api.access.needs import Need
from api.http.schemas import ErrorBody
from api.http.small_bodies import SmallBodyRoute, managed_route
from api.parts import GetParts
from registry.audit import Record, newest
from registry.entries import By, ChangeRecord, RegistryEntry, Status, Switch, Version, checked
from registry.errors import InvalidEntry
from registry.promotion import Promotion

PREFIX = "/api/v1/registry"
_MODELS = f"{PREFIX}/models"
_MODEL = f"{_MODELS}/{{model_name}}"
_VERSION = f"{_MODEL}/{{version}}"
_MOST_LISTED = 1_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]")

VersionIn = StrictStr | StrictInt


def _iso(text: object) -> object:
    """Numbers, which pydantic takes for seconds, are no times here."""
    if isinstance(text, str) and not _DATE.match(text):
        raise ValueError("allowed is ISO 8601, such as 2026-11-29T14:05:00Z")
    return text


class ChangeIn(BaseModel, extra="forbid"):
    """What every change may say: why it is made, and what it expects."""

    expected_current: VersionIn | None = Field(
        default=None, description="refuse unless this version is production now (for an alias: its version)"
    )
    reason: str | None = Field(default=None, max_length=500)


class EntryIn(ChangeIn):
    """The body of `POST /models`."""

    model_name: str
    version: VersionIn = Field(description="an integer n means vn")
    path: str = Field(description="relative to the folder that holds `models/`")
    metadata: dict[str, Any] = Field(default_factory=dict)


class AliasIn(ChangeIn):
    """The body of `PUT …/aliases/{alias}`."""

    version: VersionIn


class DescriptionIn(ChangeIn):
    """The body of `PATCH …/{version}`: each field that is given is exchanged as a whole."""

    metadata: dict[str, Any] | None = None
    tags: dict[str, str] | None = None


class ChangeQuery(BaseModel, extra="forbid"):
    """What a change without a body may say; see `ChangeIn`."""

    expected_current: str | None = None
    reason: str | None = Field(default=None, max_length=500)


class ListQuery(BaseModel, extra="forbid"):
    """What the listed versions must fit."""

    model_name: str | None = None
    status: Status | None = None
    alias: str | None = None


class HistoryQuery(BaseModel, extra="forbid"):
    """Which changes are wanted; or which version answered `at` a time."""

    before: int | None = Field(default=None, ge=0, le=2**53)
    limit: int = Field(default=100, ge=1, le=_MOST_LISTED)
    at: Annotated[datetime | None, BeforeValidator(_iso)] = Field(
        default=None, description="which version answered at this time (ISO 8601)"
    )


class AuditQuery(BaseModel, extra="forbid"):
    """Which records are wanted."""

    model: str | None = None
    limit: int = Field(default=100, ge=1, le=_MOST_LISTED)


class EntriesBody(BaseModel):
    """The answer to `GET /models`."""

    models: list[RegistryEntry]


class PromotionBody(RegistryEntry):
    """The entry after a change of production, and what this service serves of the model."""

    target: str | None = Field(description="what the model's slot follows; null: it is not wanted")
    serving: Version | None = Field(description="the version that answers in this service")
    note: str


class HistoryBody(BaseModel):
    """Changes, newest first."""

    history: list[ChangeRecord]


class AuditBody(BaseModel):
    """Records of the audit log."""

    records: list[Record]


class ServedBody(BaseModel):
    """Which version answered at a time, in each service that knows the model."""

    served: list[Switch]


def router(parts: GetParts) -> APIRouter:
    """All routes of the registry."""
    routes = APIRouter()
    # What follows a model's name comes before the routes that take it for a version.
    routes.include_router(_history(parts))
    routes.include_router(_production(parts))
    routes.include_router(_changes(parts))
    routes.include_router(_aliases(parts))
    routes.include_router(_reads(parts))
    routes.include_router(_audit(parts))
    return routes


class _RegistryRoute(SmallBodyRoute):
    """An invalid body is 422 with its field."""

    invalid = InvalidEntry


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody, "description": "ErrorBody"} for status in statuses}


def _reads(parts: GetParts) -> APIRouter:
    routes = APIRouter(tags=["registry"], route_class=_RegistryRoute)

    @routes.get(_MODELS, operation_id="registry_list", responses=_refusals(422, 503))
    async def entries(wanted: Annotated[ListQuery, Query()]) -> EntriesBody:
        """The registered versions that fit all that is given."""
        found = await _in_thread(parts().registry.list, wanted.model_name, wanted.status, wanted.alias)
        return EntriesBody(models=list(found))

    @routes.get(_VERSION, operation_id="registry_entry", responses=_refusals(404, 422, 503))
    async def entry(model_name: str, version: str) -> RegistryEntry:
        """One registered version."""
        found: RegistryEntry = await _in_thread(parts().registry.entry, model_name, version)
        return found

    return routes


def _history(parts: GetParts) -> APIRouter:
    routes = APIRouter(tags=["registry"], route_class=_RegistryRoute)

    @routes.get(_MODEL + "/history", operation_id="registry_history", responses=_refusals(404, 422, 503))
    async def history(model_name: str, wanted: Annotated[HistoryQuery, Query()]) -> HistoryBody | ServedBody:
        """The changes of a model, newest first; with `at`, which version answered then."""
        if wanted.at is not None:
            served = await _in_thread(parts().registry.served_at, model_name, wanted.at)
            return ServedBody(served=list(served))
        found = await _in_thread(parts().registry.history, model_name, wanted.before, wanted.limit)
        return HistoryBody(history=list(found))

    return routes


def _audit(parts: GetParts) -> APIRouter:
    routes = _managed(Need.AUDIT)

    @routes.get("/api/v1/audit", operation_id="audit")
    async def audit(wanted: Annotated[AuditQuery, Query()]) -> AuditBody:
        """The newest records of the audit log, oldest first; `okawari audit --verify` verifies it."""
        return AuditBody(records=await _in_thread(newest, parts().audit, wanted.model, wanted.limit))

    return routes


def _managed(need: Need = Need.WRITE) -> APIRouter:
    return APIRouter(
        tags=["registry"],
        route_class=managed_route(_RegistryRoute, need),
        dependencies=[Security(HTTPBearer(auto_error=False, scheme_name="adminToken"))],
        responses=_refusals(400, 401, 403, 404, 409, 413, 415, 422, 503),
    )


def _changes(parts: GetParts) -> APIRouter:
    routes = _managed()

    @routes.post(_MODELS, status_code=201, operation_id="registry_register")
    async def register(wanted: EntryIn, request: Request) -> RegistryEntry:
        """Register a version as `staging`. Files outside the model store are imported into it first."""
        by = _by(request, wanted)
        found: RegistryEntry = await _in_thread(
            parts().registrations.register,
            wanted.model_name,
            wanted.version,
            wanted.path,
            wanted.metadata,
            by,
        )
        return found

    @routes.put(_VERSION + "/archive", operation_id="registry_archive")
    async def archive(
        model_name: str, version: str, request: Request, change: ChangeIn | None = None
    ) -> RegistryEntry:
        """Put a version away."""
        changed = await _in_thread(parts().registry.archive, model_name, version, _by(request, change))
        found: RegistryEntry = changed.entry
        return found

    @routes.patch(_VERSION, operation_id="registry_describe")
    async def describe(
        model_name: str, version: str, wanted: DescriptionIn, request: Request
    ) -> RegistryEntry:
        """Exchange the metadata or tags of a version."""
        changed = await _in_thread(
            partial(
                parts().registry.describe,
                metadata=wanted.metadata,
                tags=wanted.tags,
                by=_by(request, wanted),
            ),
            model_name,
            version,
        )
        found: RegistryEntry = changed.entry
        return found

    return routes


def _aliases(parts: GetParts) -> APIRouter:
    routes = _managed()

    @routes.put(_MODEL + "/aliases/{alias}", operation_id="registry_set_alias")
    async def set_alias(model_name: str, alias: str, wanted: AliasIn, request: Request) -> RegistryEntry:
        """Let an alias mean a version."""
        changed = await _in_thread(
            parts().registry.set_alias, model_name, alias, wanted.version, _by(request, wanted)
        )
        parts().schedule.wake()
        found: RegistryEntry = changed.entry
        return found

    @routes.delete(_MODEL + "/aliases/{alias}", operation_id="registry_delete_alias")
    async def delete_alias(
        model_name: str,
        alias: str,
        request: Request,
        change: Annotated[ChangeQuery, Query()],
    ) -> RegistryEntry:
        """Let an alias mean nothing."""
        changed = await _in_thread(parts().registry.delete_alias, model_name, alias, _by(request, change))
        found: RegistryEntry = changed.entry
        return found

    return routes


def _production(parts: GetParts) -> APIRouter:
    routes = _managed()
    slow: dict[int | str, dict[str, Any]] = {202: {"model": PromotionBody}}

    @routes.put(_VERSION + "/activate", operation_id="registry_activate", responses=slow)
    async def activate(
        model_name: str, version: str, request: Request, response: Response, change: ChangeIn | None = None
    ) -> PromotionBody:
        """Make a version production, and serve it; 202 if the swap is still running."""
        by = _by(request, change)
        promoted = await parts().promotions.activate(model_name, version, by, parts().swap_timeout)
        return _promoted(promoted, response)

    @routes.post(_MODEL + "/rollback", operation_id="registry_rollback", responses=slow)
    async def rollback(
        model_name: str, request: Request, response: Response, change: ChangeIn | None = None
    ) -> PromotionBody:
        """Make the version production that was so before; twice goes two back."""
        by = _by(request, change)
        promoted = await parts().promotions.rollback(model_name, by, parts().swap_timeout)
        return _promoted(promoted, response)

    return routes


def _promoted(promoted: Promotion, response: Response) -> PromotionBody:
    entry = promoted.entry
    if not promoted.done:
        response.status_code = 202
        response.headers["Location"] = f"{PREFIX}/models/{entry.model_name}/{entry.version}"
    fields = entry.model_dump()
    return PromotionBody(**fields, target=promoted.target, serving=promoted.serving, note=promoted.note)


def _by(request: Request, change: ChangeIn | ChangeQuery | None) -> By:
    change = change or ChangeIn()
    return checked(
        By,
        "body",
        actor=request.state.actor,
        reason=change.reason,
        expected_current=change.expected_current,
    )


async def _in_thread(call: Any, *arguments: Any) -> Any:
    """A call that waits for a disk or a database."""
    return await anyio.to_thread.run_sync(call, *arguments)
