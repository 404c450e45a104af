"""Progress of an import, and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.text import plain
from manifest.version_manifest import CONFIG_FILE

if TYPE_CHECKING:
    from models_import.importer import Imported


class ImportProgress:
    """Callbacks of an import, all without effect. A subclass overrides those that it shows."""

    def waiting(self, what: str) -> None:
        """The import waits for `what`, which another process holds."""

    def step(self, name: str) -> None:
        """The step `name` begins."""

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` bytes of the current step are done."""


SILENT = ImportProgress()

#: Most fields that a warning names.
_MOST_FIELDS = 12


def summary(imported: Imported) -> str:
    """The outcome of an import in one line."""
    line = f"{imported.outcome} {imported.tag} {imported.digest.removeprefix('sha256:')[:12]}"
    if imported.latest == imported.tag.version:
        return f"{line}; it is latest"
    return f"{line}; latest is {imported.latest}, which was created later"


def warnings_of(imported: Imported) -> list[str]:
    """What a person should look at, each in one line."""
    crops = imported.crop_trouble and (
        f"{imported.tag}: {imported.crop_trouble}: until a detector that fits serves, requests are refused"
    )
    return [text for text in (_unreviewed(imported), crops) if text]


def _unreviewed(imported: Imported) -> str | None:
    """A warning of a config that was inferred and not checked since, in one line; None without one."""
    if not imported.unreviewed:
        return None
    fields = ", ".join(plain(field, 100) for field in imported.unreviewed[:_MOST_FIELDS])
    more = len(imported.unreviewed) - _MOST_FIELDS
    fields += f" and {more} more" if more > 0 else ""
    return (
        f"{imported.tag}: {CONFIG_FILE} is inferred and not reviewed: check {fields}; then delete `inferred` "
        "in it and import it as a new version"
    )
