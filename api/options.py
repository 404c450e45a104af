"""The options of a prediction: names, limits, JSON schemas and their check, the same on every wire."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson

from hotswap.errors import BadRequest
from hotswap.predictions import Options

MaskFormat = Literal["rle", "png"]

#: Characters of a text prompt: a thousand classes fit.
LONGEST_PROMPT = 20_000
#: Points or boxes of one request.
MOST_PROMPTS = 100
MASK_FORMATS: tuple[MaskFormat, ...] = ("rle", "png")
MASK_FORMAT = "mask_format"
_UNIT = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def options(values: Mapping[str, object]) -> Options:
    """The options among named values; None and "" count as left out. Raises `BadRequest` naming the option.

    `box_threshold` is another name of `threshold`.
    """
    given = {name: check(name, values.get(name)) for name, check in _CHECKS.items()}
    box_threshold = given.pop("box_threshold")
    if box_threshold is not None:
        if given["threshold"] not in (None, box_threshold):
            raise BadRequest("box_threshold: another name of threshold; send one of them")
        given["threshold"] = box_threshold
    return Options(**{name: value for name, value in given.items() if value is not None})


def mask_format(values: Mapping[str, object]) -> MaskFormat:
    """How masks are written. Raises `BadRequest`."""
    value = values.get(MASK_FORMAT)
    if value is None or value == "":
        return "rle"
    known = next((name for name in MASK_FORMATS if name == value), None)
    if known is None:
        allowed = " or ".join(MASK_FORMATS)
        raise BadRequest(f"{MASK_FORMAT}: {str(value)[:40]!r} is not {allowed}")
    return known


def schema() -> dict[str, dict[str, Any]]:
    """The JSON schema of each option, by name."""
    return {
        "threshold": {**_UNIT, "description": "least score; default: the model's own"},
        "box_threshold": {**_UNIT, "description": "another name of threshold"},
        "max_detections": {**_whole(1000), "default": 100, "description": "null means 100"},
        "text_prompt": {
            "type": ["string", "null"],
            "maxLength": LONGEST_PROMPT,
            "description": 'what to find: phrases, each ended by a full stop, such as "bird . cat ."',
        },
        "text_threshold": {**_UNIT, "description": "least score of the words that name a detection"},
        "nms_threshold": {
            **_UNIT,
            "description": "overlap (IoU) from which the weaker of two boxes is dropped; default: "
            "the model's own",
        },
        "points": _rows([_UNIT_VALUE, _UNIT_VALUE, {"type": "integer", "minimum": 0, "maximum": 1}], _POINTS),
        "boxes": _rows([_UNIT_VALUE] * 4, _BOXES),
        "top_k": {**_whole(1000), "description": "most labels of a whole picture; default: the model's own"},
        MASK_FORMAT: {
            "type": ["string", "null"],
            "enum": [*MASK_FORMATS, None],
            "description": "rle: run lengths as COCO writes them; png: a picture in base64",
        },
    }


_UNIT_VALUE = {"type": "number", "minimum": 0, "maximum": 1}
_POINTS = "[x, y, label] in 0..1 of the upright picture; label 1: the object, 0: what is not part of it"
_BOXES = "[x1, y1, x2, y2] in 0..1 of the upright picture"


def _whole(most: int) -> dict[str, Any]:
    return {"type": ["integer", "null"], "minimum": 1, "maximum": most}


def _rows(columns: list[dict[str, Any]], description: str) -> dict[str, Any]:
    row = {"type": "array", "prefixItems": columns, "minItems": len(columns), "maxItems": len(columns)}
    return {
        "type": ["array", "null"],
        "maxItems": MOST_PROMPTS,
        "items": row,
        "description": f"{description}; in a form or a query as JSON",
    }


def _unit(name: str, value: object) -> float | None:
    if _absent(value):
        return None
    number = _number(value)
    if number is None or not 0.0 <= number <= 1.0:
        raise BadRequest(f"{name}: {str(value)[:40]!r} is not a number from 0 to 1")
    return number


def _whole_number(name: str, value: object) -> int | None:
    if _absent(value):
        return None
    number = _number(value)
    if number is None or number != int(number) or not 1 <= number <= 1000:
        raise BadRequest(f"{name}: {str(value)[:40]!r} is not a whole number from 1 to 1000")
    return int(number)


def _text(name: str, value: object) -> str | None:
    if _absent(value):
        return None
    if not isinstance(value, str) or len(value) > LONGEST_PROMPT:
        raise BadRequest(f"{name}: must be a text of at most {LONGEST_PROMPT} characters")
    return value


def _points(name: str, value: object) -> tuple[Any, ...] | None:
    rows = _table(name, value, 3, _POINTS)
    if any(row[2] not in (0, 1) for row in rows):
        raise BadRequest(f"{name}: must be {_POINTS}")
    return tuple((x, y, int(label)) for x, y, label in rows) or None


def _boxes(name: str, value: object) -> tuple[Any, ...] | None:
    rows = _table(name, value, 4, _BOXES)
    if any(x1 >= x2 or y1 >= y2 for x1, y1, x2, y2 in rows):
        raise BadRequest(f"{name}: must be {_BOXES}, with x1 < x2 and y1 < y2")
    return tuple(rows) or None


def _table(name: str, value: object, columns: int, what: str) -> list[tuple[float, ...]]:
    """Rows of numbers in 0..1, from a list or its JSON text."""
    if _absent(value):
        return []
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise BadRequest(f"{name}: not JSON; it must be a list of {what}") from None
    if not isinstance(value, list) or len(value) > MOST_PROMPTS:
        raise BadRequest(f"{name}: must be a list of at most {MOST_PROMPTS} rows {what}")
    return [_row(name, row, columns, what) for row in value]


def _row(name: str, row: object, columns: int, what: str) -> tuple[float, ...]:
    numbers = [_number(item) for item in row] if isinstance(row, list) and len(row) == columns else []
    unit = [number for number in numbers if number is not None and 0.0 <= number <= 1.0]
    if len(unit) != columns:
        raise BadRequest(f"{name}: {str(row)[:60]!r}: must be {what}")
    return tuple(unit)


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "threshold": _unit,
    "box_threshold": _unit,
    "max_detections": _whole_number,
    "text_prompt": _text,
    "text_threshold": _unit,
    "nms_threshold": _unit,
    "points": _points,
    "boxes": _boxes,
    "top_k": _whole_number,
}
#: The names of all options, with the one that says how masks are written.
NAMES = (*_CHECKS, MASK_FORMAT)
