"""The part of the HTTP API of lakeFS that is used here, as its published description (1.88) states it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

JSON = "application/json"
OCTETS = "application/octet-stream"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Error(_Document):
    message: str


class Ref(_Document):
    id: str
    commit_id: str


class Repository(_Document):
    id: str
    creation_date: int
    default_branch: str
    storage_namespace: str
    storage_id: str | None = None
    read_only: bool | None = None


class RepositoryCreation(_Document):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")]
    storage_namespace: Annotated[str, Field(pattern=r"^(s3|gs|https?|mem|local|transient)://.*$")]
    default_branch: str | None = None
    sample_data: bool | None = None
    read_only: bool | None = None


class ObjectStats(_Document):
    path: str
    path_type: Literal["common_prefix", "object"]
    physical_address: str
    physical_address_expiry: int | None = None
    checksum: str
    size_bytes: int | None = None
    mtime: int
    metadata: dict[str, str] | None = None
    content_type: str | None = None


class Pagination(_Document):
    has_more: bool
    next_offset: str
    results: Annotated[int, Field(ge=0)]
    max_per_page: Annotated[int, Field(ge=0)]


class ObjectStatsList(_Document):
    pagination: Pagination
    results: list[ObjectStats]


class PathList(_Document):
    paths: list[str]


class ObjectError(_Document):
    status_code: int
    message: str
    path: str | None = None


class ObjectErrorList(_Document):
    errors: list[ObjectError]


class CommitCreation(_Document):
    message: str
    metadata: dict[str, str] | None = None
    date: int | None = None
    allow_empty: bool = False
    force: bool = False


class Commit(_Document):
    id: str
    parents: list[str]
    committer: str
    message: str
    creation_date: int
    meta_range_id: str
    metadata: dict[str, str] | None = None
    generation: int | None = None
    version: Annotated[int, Field(ge=0, le=1)] | None = None


class BranchCreation(_Document):
    name: str
    source: str
    force: bool = False
    hidden: bool = False


class TagCreation(_Document):
    id: str
    ref: str
    force: bool = False


#: A query's values are text: they are read as what the description says.
_TEXT = TypeAdapter[Any](str)
_FLAG = TypeAdapter[Any](Literal["true", "false"])
_AMOUNT = TypeAdapter[Any](Annotated[int, Field(ge=-1, le=1000)])
#: A body of bytes, and one of plain text.
BYTES, TEXT = object(), object()


@dataclass(frozen=True)
class Operation:
    """One call: what may be sent, and what each status answers with (`None`: no body)."""

    name: str
    method: str
    path: str
    responses: Mapping[int, Any]
    query: Mapping[str, TypeAdapter[Any]] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    body: type[BaseModel] | None = None
    content_types: tuple[str, ...] = ()

    def matches(self, method: str, path: str) -> dict[str, str] | None:
        """The names in the path."""
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found and method == self.method else None

    def request_problem(
        self, query: Mapping[str, str], content_type: str, conditions: Mapping[str, str], body: bytes
    ) -> str:
        """What of a request is against the description; empty: nothing."""
        if unknown := query.keys() - self.query.keys():
            return f"unknown in the query: {unknown}"
        if missing := self.required - query.keys():
            return f"missing in the query: {missing}"
        if any(condition != "*" for condition in conditions.values()):
            return f"If-None-Match may only be *: {conditions}"
        if (content_type or None) not in (self.content_types or (None,)):
            return f"content type {content_type!r}"
        try:
            for name, text in query.items():
                self.query[name].validate_python(text)
            if self.body is not None:
                self.body.model_validate_json(body)
        except ValidationError as error:
            return str(error)
        return ""

    def response_problem(self, status: int, body: bytes) -> str:
        """What of an answer is against the description; empty: nothing."""
        if status >= 500:
            return ""  # its `default`, which is an Error, or no answer of lakeFS
        if status not in self.responses:
            return f"status {status}"
        model = self.responses[status]
        try:
            if isinstance(model, type) and issubclass(model, BaseModel):
                model.model_validate_json(body)
        except ValidationError as error:
            return str(error)
        return ""


_ERRORS: dict[int, Any] = {400: Error, 401: Error, 404: Error, 429: None}
_CHANGES = _ERRORS | {403: Error}
_REPOSITORY = "/repositories/{repository}"
_PAGES = {"prefix": _TEXT, "after": _TEXT, "amount": _AMOUNT}

OPERATIONS = (
    Operation(
        "create_repository",
        "POST",
        "/repositories",
        _ERRORS | {201: Repository, 409: Error},
        query={"bare": _FLAG},
        body=RepositoryCreation,
        content_types=(JSON,),
    ),
    Operation("get_repository", "GET", _REPOSITORY, _ERRORS | {200: Repository}),
    Operation(
        "create_branch",
        "POST",
        f"{_REPOSITORY}/branches",
        _CHANGES | {201: TEXT, 409: Error},
        body=BranchCreation,
        content_types=(JSON,),
    ),
    Operation("get_branch", "GET", f"{_REPOSITORY}/branches/{{branch}}", _ERRORS | {200: Ref}),
    Operation(
        "create_tag",
        "POST",
        f"{_REPOSITORY}/tags",
        _CHANGES | {201: Ref, 409: Error},
        body=TagCreation,
        content_types=(JSON,),
    ),
    Operation("get_tag", "GET", f"{_REPOSITORY}/tags/{{tag}}", _ERRORS | {200: Ref}),
    Operation(
        "commit",
        "POST",
        f"{_REPOSITORY}/branches/{{branch}}/commits",
        _CHANGES | {201: Commit, 409: Error, 412: Error},
        query={"source_metarange": _TEXT},
        body=CommitCreation,
        content_types=(JSON,),
    ),
    Operation(
        "upload_object",
        "POST",
        f"{_REPOSITORY}/branches/{{branch}}/objects",
        _CHANGES | {201: ObjectStats, 412: Error, 501: Error},
        query={"path": _TEXT, "storageClass": _TEXT, "force": _FLAG},
        required=frozenset({"path"}),
        content_types=(OCTETS,),
    ),
    Operation(
        "delete_objects",
        "POST",
        f"{_REPOSITORY}/branches/{{branch}}/objects/delete",
        _CHANGES | {200: ObjectErrorList},
        query={"force": _FLAG, "no_tombstone": _FLAG},
        body=PathList,
        content_types=(JSON,),
    ),
    Operation(
        "get_object",
        "GET",
        f"{_REPOSITORY}/refs/{{ref}}/objects",
        _ERRORS | {200: BYTES, 206: BYTES, 302: None, 304: None, 410: Error, 416: Error},
        query={"path": _TEXT, "presign": _FLAG},
        required=frozenset({"path"}),
    ),
    Operation(
        "stat_object",
        "GET",
        f"{_REPOSITORY}/refs/{{ref}}/objects/stat",
        _ERRORS | {200: ObjectStats, 410: None},
        query={"path": _TEXT, "user_metadata": _FLAG, "presign": _FLAG},
        required=frozenset({"path"}),
    ),
    Operation(
        "list_objects",
        "GET",
        f"{_REPOSITORY}/refs/{{ref}}/objects/ls",
        _ERRORS | {200: ObjectStatsList},
        query={**_PAGES, "user_metadata": _FLAG, "presign": _FLAG, "delimiter": _TEXT},
    ),
)
