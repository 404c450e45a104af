"""The one thing that goes wrong while models come in."""

from __future__ import annotations


class ImportRefused(RuntimeError):
    """Nothing was changed in the store; the message says why, and what to do."""
