"""The entries of the model registry and the records of their changes, as they are stored and answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    StrictInt,
    ValidationError,
    WithJsonSchema,
)

from common.text import explain, shown
from manifest.tags import LATEST, as_version, check_word
from registry.errors import InvalidEntry

#: Maximum sizes; what is larger is refused with the field's name.
MOST_CHARACTERS = 2_000
MOST_METRICS = MOST_TAGS = 100
MOST_ALIASES = 32
MOST_PATH = 1_024
MOST_REASON = 500
MOST_ACTOR = 200

#: Versions of this form are written as integers: v3 as 3. Larger numbers would lose digits in JSON readers.
_NUMBERED = re.compile(r"v(0|[1-9][0-9]{0,14})")
#: What a target may also be called; an alias of that name could not be asked for.
_RESERVED = (LATEST, "production")


class Status(StrEnum):
    """What a version is meant for. At most one version of a model is `production`."""

    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"
    REJECTED = "rejected"


class Action(StrEnum):
    """What a change did."""

    REGISTER = "register"
    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    UNDO = "undo"
    STAGE = "stage"
    ARCHIVE = "archive"
    REJECT = "reject"
    SET_ALIAS = "set_alias"
    DELETE_ALIAS = "delete_alias"
    DESCRIBE = "describe"
    FILE_EDIT = "file_edit"


def version_text(value: object) -> str:
    """The store's text of a version: 3, "3" and "v3" are all v3. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a version is an integer or a text")
    version = as_version(value) if len(str(value)) <= 64 else str(value)
    if version == LATEST:
        raise ValueError(f"{LATEST} is a target, not a version")
    return check_word("version", version)


def public_version(version: str) -> int | str:
    """A version as files and answers show it: v3 as the integer 3, any other as text."""
    numbered = _NUMBERED.fullmatch(version)
    return int(numbered[1]) if numbered else version


def _alias(text: str) -> str:
    if text in _RESERVED:
        raise ValueError(f"{text} is a target of its own: choose another alias")
    return check_word("alias", text)


def _path(text: str) -> str:
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or not text.isprintable() or "\\" in text:
        raise ValueError("allowed is a relative path without .., from the folder that holds models/")
    return text


def _utc(moment: datetime) -> datetime:
    """A time without a zone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a metric is a number")
    return value


def _word(text: str) -> str:
    if not text.isprintable():
        raise ValueError("allowed are printable characters")
    return text


def _strict_text(value: object) -> object:
    if isinstance(value, str) and any(0xD800 <= ord(c) <= 0xDFFF or c == "\0" for c in value):
        raise ValueError("allowed is text without NUL and single surrogates")
    return value


Name = Annotated[str, AfterValidator(lambda text: check_word("model name", text))]
Version = Annotated[
    str,
    BeforeValidator(version_text),
    PlainSerializer(public_version, return_type=int | str),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "title": "Version"}),
]
Alias = Annotated[str, AfterValidator(_alias)]
Moment = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_shown, return_type=str)]
Key = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_word)]
Text = Annotated[str, BeforeValidator(_strict_text)]
Metric = Annotated[StrictInt | FiniteFloat, BeforeValidator(_no_bool)]
Digest = Annotated[str, Field(max_length=200), AfterValidator(_word)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Part):
    """What people and evaluations say of a version."""

    description: Annotated[Text, Field(max_length=MOST_CHARACTERS)] = ""
    metrics: Annotated[Mapping[Key, Metric], Field(max_length=MOST_METRICS)] = {}


class RegistryEntry(_Part):
    """One version of one model. `path` is relative to the folder that holds `models/`."""

    model_name: Name
    version: Version
    path: Annotated[str, Field(min_length=1, max_length=MOST_PATH), AfterValidator(_path)]
    status: Status = Status.STAGING
    creation_timestamp: Moment
    metadata: Metadata = Metadata()
    digest: Digest | None = None
    aliases: Annotated[tuple[Alias, ...], Field(max_length=MOST_ALIASES)] = ()
    tags: Annotated[Mapping[Key, Annotated[Text, Field(max_length=500)]], Field(max_length=MOST_TAGS)] = {}

    @property
    def is_described(self) -> bool:
        """Whether anybody has said more of it than that it is there."""
        said = self.metadata != Metadata() or self.aliases or self.tags
        return bool(said) or self.status is not Status.STAGING

    def with_(self, **fields: object) -> Self:
        """The entry with some fields exchanged by values that are valid already."""
        return self.model_copy(update=fields)


class ChangeRecord(_Part):
    """One change of one model, as its history keeps it.

    `before` and `after` are what `alias` meant, or where there is none, which version was production;
    `was` and `status` are those of `version`. `undoes` is the number of the change that an undo took back.
    """

    number: int
    time: Moment
    action: Action
    model_name: Name
    version: Version | None = None
    actor: Annotated[Text, Field(max_length=MOST_ACTOR)] = "unknown"
    reason: Annotated[Text, Field(max_length=MOST_REASON)] | None = None
    alias: str | None = None
    before: Version | None = None
    after: Version | None = None
    before_digest: str | None = None
    after_digest: str | None = None
    was: Status | None = None
    status: Status | None = None
    undoes: int | None = None


class Switch(_Part):
    """From `time` on, `version` answered for a model of a service; None: nothing did.

    `number` is that of the decision to switch, which all workers of the service share.
    """

    model_name: Name
    number: Annotated[int, Field(ge=0, lt=2**63)]
    version: Version | None = None
    digest: Digest | None = None
    time: Moment
    service: Annotated[Key, Field(max_length=100)] = "okawari"


class By(_Part):
    """Who asks for a change, why, and what must be so for it to be made.

    `expected_current` is the version that the change's alias, or else production, means now.
    """

    actor: Annotated[Text, Field(max_length=MOST_ACTOR)] = "unknown"
    reason: Annotated[Text, Field(max_length=MOST_REASON)] | None = None
    expected_current: Version | None = None


_P = TypeVar("_P", bound=BaseModel)


def checked(kind: type[_P], source: str, **fields: Any) -> _P:
    """Build a part from untrusted fields; raises `InvalidEntry`, which names field and value."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise InvalidEntry(explain(source, error)) from None


def checked_version(value: object) -> str:
    """The store's text of a version that a caller gave; raises `InvalidEntry`."""
    return _word_of("version", version_text, value)


def checked_name(value: object) -> str:
    """The name of a model that a caller gave; raises `InvalidEntry`."""
    return _word_of("model_name", lambda text: check_word("model name", str(text)), value)


def checked_alias(value: object) -> str:
    """An alias that a caller gave; raises `InvalidEntry`."""
    return _word_of("alias", lambda text: _alias(str(text)), value)


def _word_of(field: str, check: Callable[[object], str], value: object) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise InvalidEntry(f"{field}: {error}, found {shown(value)}") from None
