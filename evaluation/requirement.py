"""What a comparison must show before a version is promoted, such as `ap50>=current`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from common.text import explain
from evaluation.comparison import MEASURES
from hotswap.errors import BadRequest

_WRITTEN = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*(current|-?[0-9.]+)\s*(?:([+-])\s*([0-9.]+)\s*)?")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_MOST_BYTES = 64_000_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReportedVersion(_Part):
    """One side of a comparison, as its document has it."""

    name: str
    digest: str
    measures: Mapping[str, FiniteFloat | None]


class ComparisonReport(_Part):
    """The part of `comparison.json` that a requirement is held against."""

    format: Literal[1]
    created: Annotated[str, Field(max_length=64)]
    a: ReportedVersion
    b: ReportedVersion

    def of(self, digest: str | None) -> ReportedVersion | None:
        """The side with these files."""
        return next((side for side in (self.b, self.a) if side.digest == digest), None)


def read_report(path: Path) -> ComparisonReport:
    """Read `comparison.json`, or that of its folder. Raises `BadRequest` or `OSError`."""
    file = path / "comparison.json" if path.is_dir() else path
    if (size := file.stat().st_size) > _MOST_BYTES:
        raise BadRequest(f"{file} has {size} bytes; at most {_MOST_BYTES} are allowed")
    try:
        return ComparisonReport.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadRequest(f"{explain(str(file), error)}; expected is what okawari compare writes") from None


@dataclass(frozen=True, slots=True)
class PromotionRequirement:
    """`measure`, a comparison, and a limit: that of the current version (None) or a number; plus `offset`."""

    text: str
    measure: str
    sign: str
    limit: float | None
    offset: float = 0.0

    @classmethod
    def parse(cls, text: str) -> PromotionRequirement:
        """Read one. Raises `ValueError`, which says what is allowed."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(
                f'{text!r}: write MEASURE>=current or MEASURE>=NUMBER, such as "ap50>=current-0.01"'
            )
        measure, sign, limit, way, offset = found.groups()
        if measure not in MEASURES:
            raise ValueError(f"{measure!r} is no measure; allowed are {', '.join(MEASURES)}")
        shift = float(offset) * (-1 if way == "-" else 1) if offset else 0.0
        return cls(text.strip(), measure, sign, None if limit == "current" else float(limit), shift)

    def judge(self, report: ComparisonReport, candidate: str | None, current: str | None) -> str:
        """A sentence with the numbers where it holds; the arguments are digests.

        Raises `BadRequest` with the reason where it does not, or where the report is about other files.
        """
        own = report.of(candidate)
        if own is None:
            raise BadRequest(
                f"{self.text}: the report of {report.created} compares {report.a.name} with {report.b.name}, "
                "not the files of this version: run okawari compare anew"
            )
        value = own.measures.get(self.measure)
        if value is None:
            raise BadRequest(f"{self.text}: the report says nothing about {self.measure} of {own.name}")
        limit, said = self._limit(report, own, current)
        numbers = f"{self.measure} is {value:g}, {said}"
        if not _HOLDS[self.sign](value, limit):
            raise BadRequest(f"{self.text} does not hold for {own.name}: {numbers}")
        return f"{self.text} holds for {own.name}: {numbers}"

    def _limit(
        self, report: ComparisonReport, own: ReportedVersion, current: str | None
    ) -> tuple[float, str]:
        if self.limit is not None:
            limit = self.limit + self.offset
            return limit, f"needed is {self.sign} {limit:g}"
        other = report.of(current)
        if other is None or other is own:
            raise BadRequest(
                f"{self.text}: the report does not compare {own.name} with what is production now: "
                "run okawari compare anew"
            )
        value = other.measures.get(self.measure)
        if value is None:
            raise BadRequest(f"{self.text}: the report says nothing about {self.measure} of {other.name}")
        return value + self.offset, f"{other.name} has {value:g}"
