"""What several commands take: `NAME VERSION`, where an integer n means vn, and the options of changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import Refused
from hotswap.repository import ModelInfo, ModelRepository
from manifest.tags import ModelTag, as_version, natural_key
from models_import.store import ModelStore

Command = TypeVar("Command", bound=Callable[..., Any])

REASON = click.option("--reason", help="Reason, stored with the change.")
TIMEOUT = click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds to wait for the workers.",
)


def VERSION_ARGUMENTS(command: Command) -> Command:  # noqa: N802 - a decorator used beside click's
    """Add the arguments NAME and VERSION to a command."""
    return click.argument("name")(click.argument("version")(command))


def stored_model(store: ModelRepository, name: str, path: Path) -> ModelInfo:
    """The model `name` of the store at `path`. Raises `Refused`, listing the models of the store."""
    models = store.look()
    if models is None:
        raise Refused(f"cannot read the store {path}: check that it exists and that you may read it")
    if name not in models:
        known = ", ".join(sorted(models)) or "none"
        raise Refused(f"there is no model {name!r} in {path}; models: {known}")
    return models[name]


def one_version(store: ModelStore, name: str, version: str) -> ModelTag:
    """A version of the store by its exact name. Raises `Refused`, listing the versions of the model."""
    return version_of(stored_model(store, name, store.path), version)


def version_of(model: ModelInfo, version: str) -> ModelTag:
    """A version of one model by its exact name. Raises `Refused`, listing the versions of the model."""
    exact = as_version(version, model.versions)
    if exact not in model.versions:
        known = ", ".join(sorted(model.versions, key=natural_key)) or "none"
        raise Refused(f"there is no version {exact} of {model.name}; versions: {known}")
    return ModelTag(model.name, exact)
