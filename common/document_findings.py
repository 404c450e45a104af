"""What is wrong with a document that a pydantic model of sections refused: by path, without secrets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, get_args

from pydantic import BaseModel

from common.text import plain, shown

Place = tuple[int | str, ...]
#: Minimum similarity of a suggested key.
_SIMILARITY = 0.6


def finding(item: Mapping[str, Any], document: Any, model: type[BaseModel]) -> str:
    """One error of pydantic: path, what is allowed, and what the document says unless it is secret.

    Fields without `repr` are secret. An unknown key is told with the most similar one.
    """
    place = tuple(part for part in item["loc"] if part != "[key]")
    if item["type"] == "extra_forbidden":
        return f"{path_text(place)}: unknown key{_nearest(place, model)}"
    if item["type"] == "model_type":
        return f"{path_text(place)}: must hold keys, each on a line of its own below"
    allowed = item["msg"].removeprefix("Value error, ")
    for subject in ("Input should", "String should"):
        allowed = allowed.replace(subject, "must", 1)
    if isinstance(item["input"], dict):
        return f"{path_text(place)}: {allowed}"
    return f"{path_text(place)}: {allowed}{_found(place, item, document, model)}"


def paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The path of every key, such as `server.host`, in their order."""
    for name, field in model.model_fields.items():
        if (section := _section(field.annotation)) is not None:
            yield from paths(section, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model of the keys below a field, also of each of several in a list; None: it holds a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)


def path_text(place: Place) -> str:
    """A place as people write it: `auth.tokens.cam-1`, `validation.allowed_formats[0]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{plain(part, 64)}" for part in place)
    return "".join(parts).removeprefix(".")


def _found(place: Place, item: Mapping[str, Any], document: Any, model: type[BaseModel]) -> str:
    """What the document says at a place; the text of a reference stands for its value."""
    written = reduce(lambda value, part: value[part], place, document)
    if _is_secret(place, model) or "@" in str(written):  # a URL with a password
        return "; its value is not shown"
    hint = "; put it in quotes" if item["type"] == "string_type" and isinstance(written, int | float) else ""
    return f", found {shown(written)}{hint}"


def _is_secret(place: Place, model: type[BaseModel]) -> bool:
    """Whether the key at a place, or one above it, holds secrets."""
    section: type[BaseModel] | None = model
    for part in _keys(place):
        field = section.model_fields.get(part) if section is not None else None
        if field is None or not field.repr:
            return True
        section = _section(field.annotation)
        if section is None:
            return False
    return False


def _nearest(place: Place, model: type[BaseModel]) -> str:
    """A hint with the most similar key beside this one, or the same key of another section."""
    name, beside = str(place[-1]), list(_keys_of(place[:-1], model))
    if similar := difflib.get_close_matches(name.lower(), beside, 1, _SIMILARITY):
        return f"; did you mean {similar[0]}?"
    if elsewhere := [path for path in paths(model) if path.split(".")[-1] == name]:
        return f"; did you mean {elsewhere[0]}?"
    return f"; known are {', '.join(beside)}"


def _keys_of(place: Place, model: type[BaseModel]) -> Iterator[str]:
    section: type[BaseModel] | None = model
    for part in _keys(place):
        section = _section(section.model_fields[part].annotation) if section is not None else None
    yield from section.model_fields if section is not None else ()


def _keys(place: Place) -> list[str]:
    """The keys of a place, without the numbers of items."""
    return [part for part in place if isinstance(part, str)]
