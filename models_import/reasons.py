"""Reasons why a version cannot be served, each with its fix, as text for people."""

from __future__ import annotations

from pathlib import Path

from common.text import plain
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE

#: Maximum characters of a text from a file or an error.
_LONGEST = 2500


def interrupted(tag: ModelTag, problem: str) -> str:
    """The reason for missing or incomplete files."""
    return (
        f"{plain(problem, _LONGEST)}: an import is running, or was interrupted; "
        f"if none is running, run `okawari remove {tag.name} {tag.version}`, then import it again"
    )


def damaged(tag: ModelTag, problem: str) -> str:
    """The reason for files that differ from the imported ones."""
    fix = f"run `okawari remove {tag.name} {tag.version}`, then import it again"
    return f"{plain(problem, _LONGEST)}; {fix}"


def foreign(folder: Path, problem: str) -> str:
    """The reason for a version imported by another program without a valid config."""
    return (
        f"{plain(problem, _LONGEST)}: preprocessing is never guessed; write a {CONFIG_FILE} "
        f"(`okawari config infer` makes a first one) and run "
        f"`okawari import {folder} --config {CONFIG_FILE} --version NEW`"
    )


def unreadable(folder: Path, error: OSError) -> str:
    """The reason for missing permissions or a disk error."""
    if isinstance(error, PermissionError):
        return f"not readable by this user: run `chmod -R a+rX {folder}`"
    where = plain(str(error.filename or folder), _LONGEST)
    return f"cannot be read: {plain(error.strerror or str(error), _LONGEST)} ({where})"


def unforeseen(error: Exception) -> str:
    """The reason for an unexpected error, which must not affect other versions."""
    return f"cannot be read: {type(error).__name__}: {plain(str(error), _LONGEST)}"


def pointer(path: Path, problem: str, newest: str | None) -> str:
    """The reason for a file `latest` that does not name a version."""
    fix = f"run `echo {newest} > {path}`" if newest else "import a version"
    return f"{path} {problem}; to fix it {fix}"
