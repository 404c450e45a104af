"""Why a version cannot be served, each with what mends it. Plain text for people."""

from __future__ import annotations

from pathlib import Path

from hotswap.manifest import CONFIG_FILE
from hotswap.tags import ModelTag


def interrupted(tag: ModelTag, what: str) -> str:
    """Files are missing or short."""
    return (
        f"{what}: an import is running, or was interrupted; "
        f"if none is running: `okawari remove {tag.name} {tag.version}`, then import it again"
    )


def damaged(tag: ModelTag, what: str) -> str:
    """Files are not what was imported."""
    return f"{what}; mend it with `okawari remove {tag.name} {tag.version}`, then import it again"


def foreign(folder: Path, what: str) -> str:
    """It was not imported by us, and does not say how pictures become its input."""
    return (
        f"{what}: pre-processing is never guessed; write a {CONFIG_FILE} and "
        f"`okawari import {folder} --config {CONFIG_FILE} --version NEW`"
    )


def unreadable(folder: Path, error: OSError) -> str:
    """This user may not read it, or the disk fails."""
    if isinstance(error, PermissionError):
        return f"cannot be read by this user: `chmod -R a+rX {folder}`"
    return f"cannot be read: {error.strerror or error} ({error.filename or folder})"


def pointer(path: Path, what: str, newest: str | None) -> str:
    """BentoML's `latest` does not name a version."""
    mend = f"`echo {newest} > {path}`" if newest else "import a version"
    return f"{path} {what}; mend it with {mend}"
