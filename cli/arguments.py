"""Versions on the command line: `NAME VERSION`, where an integer n means vn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.errors import Refused
from hotswap.repository import ModelInfo
from hotswap.tags import ModelTag, as_version, natural_key
from models_import.store import ModelStore

Command = TypeVar("Command", bound=Callable[..., Any])


def VERSION_ARGUMENTS(command: Command) -> Command:  # noqa: N802 - a decorator that stands beside click's
    """The arguments NAME and VERSION."""
    return click.argument("name")(click.argument("version")(command))


def sight_of(store: ModelStore, name: str) -> ModelInfo:
    """A model of the store; `Refused` naming what there is."""
    sights = store.look()
    if sights is None:
        raise Refused(f"the store {store.path} cannot be read: is it there, and may you read it?")
    if name not in sights:
        known = ", ".join(sorted(sights)) or "nothing"
        raise Refused(f"there is no model {name!r} in {store.path}; there is {known}")
    return sights[name]


def one_version(store: ModelStore, name: str, version: str) -> ModelTag:
    """A version of the store, named exactly; `Refused` naming what there is."""
    return version_of(sight_of(store, name), version)


def version_of(sight: ModelInfo, version: str) -> ModelTag:
    """A version of one model, named exactly; `Refused` naming what there is."""
    word = as_version(version, sight.versions)
    if word not in sight.versions:
        known = ", ".join(sorted(sight.versions, key=natural_key)) or "none"
        raise Refused(f"there is no version {word} of {sight.name}; there is {known}")
    return ModelTag(sight.name, word)
