"""What goes wrong while models come in."""

from __future__ import annotations


class ImportRefused(RuntimeError):
    """Nothing was changed in the store; the message says why, and what to do."""


class ImportUnavailable(ImportRefused):
    """The reason is not what the version is but a disk, a right, a mount: the same may go well later."""
