"""The model registry opened by the path of a file or the URL of a database."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from registry.errors import RegistryUnavailable
from registry.file_registry import FileRegistry
from registry.model_registry import ModelRegistry
from registry.record_store import RecordStore


def is_url(where: str | Path) -> bool:
    """Whether this names a database."""
    return "://" in str(where)


def open_registry(where: str | Path) -> ModelRegistry:
    """The registry in a file, which is created where absent, or behind sqlite:///… or postgresql://….

    Raises `RegistryUnavailable` when the file cannot be made or okawari[sql] is not installed, `ValueError`
    for another URL. A database is asked when the registry is.
    """
    return ModelRegistry(_sql(str(where)) if is_url(where) else FileRegistry(Path(where).absolute()))


def production(where: str | Path, name: str) -> str | None:
    """The production version of a model; None also while the registry cannot be read."""
    try:
        with closing(open_registry(where)) as registry:
            pointer = registry.pointers().models.get(name)
    except RegistryUnavailable:
        return None
    return pointer.production if pointer else None


def _sql(url: str) -> RecordStore:
    if find_spec("sqlalchemy") is None or find_spec("psycopg") is None:
        raise RegistryUnavailable("a registry in a database needs more packages: install okawari[sql]")
    from adapters.sql.sql_registry import SqlRegistry

    return SqlRegistry(url)
