"""Families of other packages: the entry points of the group `okawari.families`.

An entry point's name is the family's, its value the class: `spots = "heat_spots:Spots"`. An
installed package's code runs in the service. One that cannot be used is left out, with the reason; all others
serve.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

from common.text import plain
from hotswap.predictions import FAMILY_OPTIONS
from manifest.version_manifest import Task
from runners.families.base import Family, Parameters

GROUP = "okawari.families"


@dataclass(frozen=True, slots=True)
class UnusableFamily:
    """An entry point that cannot be used: its name, its distribution with version, and the reason."""

    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"family {self.name!r} of {self.distribution} cannot be used: {self.reason}"


@dataclass(frozen=True, slots=True)
class OutsideFamilies:
    """The families of other packages by name, each with its distribution, and those that cannot be used."""

    families: Mapping[str, type[Family[Any]]]
    distributions: Mapping[str, str]
    unusable: tuple[UnusableFamily, ...]

    def why_not(self, name: str) -> str | None:
        """Why there is no family of that name, though a package has one."""
        return "; ".join(str(each) for each in self.unusable if each.name == name) or None


class _Unusable(Exception):
    """The reason why an entry point cannot be used."""


def outside_families(ours: Collection[str], points: Iterable[EntryPoint] | None = None) -> OutsideFamilies:
    """The families of the installed packages, beside `ours`. Raises nothing, whatever a package does.

    A name that two packages claim is given to none of them: which one is read first depends on the path.
    """
    found = sorted(entry_points(group=GROUP) if points is None else points, key=_place)
    counts = Counter(point.name for point in found)
    families: dict[str, type[Family[Any]]] = {}
    distributions: dict[str, str] = {}
    unusable: list[UnusableFamily] = []
    for point in found:
        owner = _distribution(point)
        try:
            if point.name in ours:
                raise _Unusable("Okawari has a family of that name; choose another one")
            if counts[point.name] > 1:
                owners = [_distribution(each) for each in found if each.name == point.name]
                raise _Unusable(f"{' and '.join(owners)} claim that name; remove all but one")
            families[point.name] = _loaded(point)
            distributions[point.name] = owner
        except _Unusable as error:
            unusable.append(UnusableFamily(point.name, owner, str(error)))
    return OutsideFamilies(families, distributions, tuple(unusable))


def _place(point: EntryPoint) -> tuple[str, str]:
    return point.name, _distribution(point)


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _loaded(point: EntryPoint) -> type[Family[Any]]:
    """The class, which can be used. Raises `_Unusable` with the reason."""
    try:
        family: Any = point.load()
        _check(point.name, family)
        family.schema.model_json_schema()
    except _Unusable:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the code of others
        raise _Unusable(f"{point.value}: {type(error).__name__}: {plain(str(error), 300)}") from None
    loaded: type[Family[Any]] = family
    return loaded


def _check(name: str, family: Any) -> None:
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise _Unusable(f"{plain(repr(family), 100)} is no subclass of okawari.Family")
    if inspect.isabstract(family):
        missing = ", ".join(sorted(family.__abstractmethods__))
        raise _Unusable(f"{family.__name__} lacks {missing}")
    for field, allowed in (("name", (name,)), ("task", get_args(Task))):
        found = getattr(family, field, None)
        if found not in allowed:
            raise _Unusable(f"{field}: allowed are {', '.join(allowed)}, found {plain(repr(found), 100)}")
    schema = getattr(family, "schema", None)
    if not (isinstance(schema, type) and issubclass(schema, Parameters)):
        raise _Unusable(f"schema: must be a subclass of okawari.Parameters, found {plain(repr(schema), 100)}")
    unknown = [each for each in family.takes if each not in FAMILY_OPTIONS]
    if unknown:
        raise _Unusable(f"takes: allowed are {', '.join(FAMILY_OPTIONS)}, found {', '.join(unknown)}")
