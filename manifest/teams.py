"""Teams: which model, options and adapter answer for a team's pictures; `teams.toml` lists them.

A team need not be listed: one with weights or with an adapter is known by these, and has the defaults.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from common.text import explain
from manifest.config_part import ConfigPart, Unit
from manifest.tags import LATEST, BadTag, as_target, check_word

#: What a team is called, in lower case: it is part of names of files, topics and models.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_LARGEST = 1_000_000


#: The list of teams.
TEAMS_FILE = "teams.toml"


class BadTeams(ValueError):
    """The list of teams cannot be used, or lacks the team; the message says what to do."""


#: A file below `adapters/` without `.py`, with a class behind a colon where it has several.
AdapterPlace = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}(:[A-Za-z][A-Za-z0-9_]{0,60})?$", max_length=130)
]


class TeamEntry(ConfigPart):
    """What is said of a team in `teams.toml`; all of it may be left out."""

    model: Annotated[str | None, Field(max_length=63)] = None
    model_tag: Annotated[str, Field(max_length=127)] = LATEST
    adapter: AdapterPlace | None = None
    threshold: Unit | None = None
    max_detections: Annotated[int | None, Field(ge=1, le=1000)] = None
    text_prompt: Annotated[str | None, Field(max_length=20_000)] = None


class Team(ConfigPart):
    """A team. `model` answers for it, the version that `model_tag` means: `latest`, an alias, a version.

    `adapter` is its own code, where it has some.
    """

    name: str
    model: str
    model_tag: str
    adapter: AdapterPlace | None
    threshold: float | None = None
    max_detections: int | None = None
    text_prompt: str | None = None


def read_teams(path: Path | None) -> dict[str, TeamEntry]:
    """The listed teams by name; none without a file. Raises `BadTeams` naming file, team and field."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(_LARGEST).decode())
    except OSError as error:
        raise BadTeams(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTeams(f"{path.name}: {error}") from None
    teams = {}
    for name, values in document.items():
        if not _NAME.fullmatch(name):
            raise BadTeams(f"{path.name}: team {name[:64]!r}: allowed are {_NAME.pattern}")
        try:
            teams[name] = TeamEntry.model_validate(values)
        except ValidationError as error:
            raise BadTeams(explain(f"{path.name}: [{name}]", error)) from None
    return teams


def choose_team(
    text: str, listed: Mapping[str, TeamEntry], adapters: Mapping[str, str], *, has_weights: bool
) -> Team:
    """The team of that name, in upper or lower case. Raises `BadTeams` for an unknown one.

    `adapters` are those that are there, by team. `has_weights`: there are weights for it, so it need not be
    listed.
    """
    name = text.strip().lower()
    entry = listed.get(name)
    taken = {(each.adapter or "").partition(":")[0] for each in listed.values()}
    adapters = {team: file for team, file in adapters.items() if team in listed or file not in taken}
    if entry is None:
        if not _NAME.fullmatch(name) or not (name in adapters or has_weights):
            raise BadTeams(_unknown(text, {*listed, *adapters}))
        entry = TeamEntry()
    model = entry.model or name.replace("_", "-")
    try:
        check_word("model name", model)
        tag = as_target(entry.model_tag.removeprefix(f"{model}:"))
    except BadTag as error:
        raise BadTeams(f"TEAM {name}: {error}") from None
    return Team(
        name=name,
        model=model,
        model_tag=tag,
        adapter=entry.adapter or adapters.get(name),
        **entry.model_dump(include={"threshold", "max_detections", "text_prompt"}),
    )


def _unknown(name: str, known: Iterable[str]) -> str:
    return (
        f"unknown TEAM {name.strip()[:64]}; known: {', '.join(sorted(known)) or 'none'}; name it in "
        "teams.toml, mount adapters/<team>_runner.py, or set WEIGHTS_PATH to its weights"
    )
