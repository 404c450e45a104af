"""Errors of model imports."""

from __future__ import annotations


class ImportRefused(RuntimeError):
    """The import was refused and the store is unchanged; the message has the reason and a remedy."""


class ImportUnavailable(ImportRefused):
    """The import failed because of a disk, a permission or a mount; the same import may succeed later."""
