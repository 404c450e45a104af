"""Which of several pictures is meant: an error about one of them would not help whoever sent eight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hotswap.errors import BadRequest


def which(index: int, count: int) -> str:
    """What stands before a message about one of `count` pictures; nothing where there is one alone.

    `index` counts from 0; both ways of counting are told, so that nobody has to know which it is.
    """
    return "" if count == 1 else f"picture {index + 1} of {count} (index {index}): "


@contextmanager
def naming(index: int, count: int) -> Iterator[None]:
    """Let what is raised about a picture, `BadRequest` of any kind, say which one it is."""
    try:
        yield
    except BadRequest as error:
        raise type(error)(which(index, count) + error.message) from None
