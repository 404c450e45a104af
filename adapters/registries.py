"""The model registry opened by the path of a file or the URL of a database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from registry.audit import AuditLog, AuditStore
from registry.audit_file import AuditFile
from registry.audit_key import AuditKey
from registry.audit_trail import AuditTrail
from registry.errors import RegistryUnavailable
from registry.file_registry import FileRegistry
from registry.model_registry import ModelRegistry
from registry.record_store import RecordStore

if TYPE_CHECKING:
    from adapters.sql.change_hints import ChangeHints


def is_url(where: str | Path) -> bool:
    """Whether this names a database."""
    return "://" in str(where)


def open_registry(where: str | Path) -> ModelRegistry:
    """The registry in a file, which is created where absent, or behind sqlite:///… or postgresql://….

    Raises `RegistryUnavailable` when the file cannot be made or okawari[sql] is not installed, and
    `BadRegistryUrl` for another URL. A database is asked when the registry is.
    """
    return ModelRegistry(_sql(str(where)) if is_url(where) else FileRegistry(Path(where).absolute()))


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """The audit log of a home, the key that signs it, and a file that says how far the registry is in it."""

    store: AuditStore
    key: AuditKey
    registry_mark: Path
    is_remote: bool

    def log(self) -> AuditLog:
        """The log itself, for who must know that a record is stored."""
        return AuditLog(self.store, self.key)

    def trail(self, run: str = "", *, at_once: bool = True) -> AuditTrail:
        """The way to the log; see `AuditTrail`."""
        return AuditTrail(self.log(), run, at_once=at_once)


def open_audit(where: str | Path, home: Path) -> AuditPlace:
    """The audit log beside a registry: of a file in the home, of a database in its tables.

    Raises as `open_registry` does.
    """
    folder = home / "state"
    if not is_url(where):
        return AuditPlace(AuditFile(folder), AuditKey(folder), folder / "audit-registry", is_remote=False)
    _check_packages()
    from adapters.sql.sql_audit import SqlAudit

    store = SqlAudit(str(where))
    log = f"-{sha256(store.name.encode()).hexdigest()[:8]}"
    return AuditPlace(store, AuditKey(folder, log), folder / f"audit-registry{log}", is_remote=True)


def change_hints(where: str | Path, wake: Callable[[], None]) -> ChangeHints | None:
    """What calls `wake` when another service has changed the registry; None where only polling tells."""
    if not (is_url(where) and str(where).startswith("postgres")):
        return None
    from adapters.sql.change_hints import ChangeHints

    return ChangeHints(str(where), wake)


def production(where: str | Path, name: str) -> str | None:
    """The production version of a model; None also while the registry cannot be read."""
    try:
        with closing(open_registry(where)) as registry:
            pointer = registry.pointers().models.get(name)
    except RegistryUnavailable:
        return None
    return pointer.production if pointer else None


def _sql(url: str) -> RecordStore:
    _check_packages()
    from adapters.sql.sql_registry import SqlRegistry

    return SqlRegistry(url)


def _check_packages() -> None:
    if find_spec("sqlalchemy") is None or find_spec("psycopg") is None:
        raise RegistryUnavailable("a registry in a database needs more packages: install okawari[sql]")
