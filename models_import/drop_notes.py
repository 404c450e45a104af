"""The note beside a version that did not come in: written whole, taken back when it came in after all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from models_import.layout import NOTE
from models_import.staging import FILE_MODE

_MEND = (
    "Mend the files here; or, if it is another version, give the folder another name. "
    "It is tried again as soon as a file here changes."
)
_WAIT = "Nothing here: it is not the version's fault. It is tried again by itself, every minute or sooner."


def text(what: str, why: str, when: datetime, *, hindered: bool) -> str:
    """What, why, what to do, and when, in words for people."""
    return (
        f"What:  {what} was not imported. What served before goes on serving.\n"
        f"Why:   {' '.join(why.split())}\n"
        f"To do: {_WAIT if hindered else _MEND}\n"
        f"       This note goes away by itself when the version has been imported.\n"
        f"When:  {when:%Y-%m-%d %H:%M:%S} UTC\n"
    )


def write(note: Path, words: str) -> None:
    """Write a note in one step. Raises `OSError`."""
    handle, name = tempfile.mkstemp(prefix=f".{NOTE}.", dir=note.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(handle, FILE_MODE)
            file.write(words)
        scratch.replace(note)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise


def take_back(note: Path) -> bool:
    """Remove a note, and what a killed writer left; whether there was one. Raises `OSError`."""
    for left in note.parent.glob(f".{NOTE}.*"):
        left.unlink(missing_ok=True)
    # On a read-only mount even removing what is not there fails.
    there = os.path.lexists(note)
    if there:
        note.unlink(missing_ok=True)
    return there
