"""Why a version cannot be served, each with what mends it. Plain text for people."""

from __future__ import annotations

from pathlib import Path

from common.text import plain
from hotswap.manifest import CONFIG_FILE
from hotswap.tags import ModelTag

#: What a file or an error may say of itself, in characters.
_LONGEST = 2500


def interrupted(tag: ModelTag, what: str) -> str:
    """Files are missing or short."""
    return (
        f"{plain(what, _LONGEST)}: an import is running, or was interrupted; "
        f"if none is running: `okawari remove {tag.name} {tag.version}`, then import it again"
    )


def damaged(tag: ModelTag, what: str) -> str:
    """Files are not what was imported."""
    what = plain(what, _LONGEST)
    return f"{what}; mend it with `okawari remove {tag.name} {tag.version}`, then import it again"


def foreign(folder: Path, what: str) -> str:
    """It was not imported by us, and does not say how pictures become its input."""
    return (
        f"{plain(what, _LONGEST)}: pre-processing is never guessed; write a {CONFIG_FILE} and "
        f"`okawari import {folder} --config {CONFIG_FILE} --version NEW`"
    )


def unreadable(folder: Path, error: OSError) -> str:
    """This user may not read it, or the disk fails."""
    if isinstance(error, PermissionError):
        return f"cannot be read by this user: `chmod -R a+rX {folder}`"
    where = plain(str(error.filename or folder), _LONGEST)
    return f"cannot be read: {plain(error.strerror or str(error), _LONGEST)} ({where})"


def unforeseen(error: Exception) -> str:
    """Something that none of us thought of; it must not stop the other versions."""
    return f"cannot be read: {type(error).__name__}: {plain(str(error), _LONGEST)}"


def pointer(path: Path, what: str, newest: str | None) -> str:
    """BentoML's `latest` does not name a version."""
    mend = f"`echo {newest} > {path}`" if newest else "import a version"
    return f"{path} {what}; mend it with {mend}"
