"""Pages of comparisons that the service shows: one for each version that was held against another."""

from __future__ import annotations

from pathlib import Path

from common.files import write_atomically
from hotswap.errors import StateUnavailable
from manifest.tags import ModelTag

_PAGE = "index.html"
#: More than any page that `okawari compare` writes.
_MOST_BYTES = 20_000_000


class ComparisonPages:
    """`<home>/state/comparisons/<model>/<version>`; a newer page takes the place of an older one."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "comparisons"

    def write(self, tag: ModelTag, page: bytes) -> None:
        """Show this page from now on. Raises `OSError`."""
        folder = self._folder / tag.name / tag.version
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / _PAGE, page)

    def read(self, tag: ModelTag) -> bytes | None:
        """The page about a version; None where there is none. Raises `StateUnavailable`."""
        try:
            with (self._folder / tag.name / tag.version / _PAGE).open("rb") as file:
                page = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnavailable(f"the comparison of {tag} cannot be read: {error.strerror}") from None
        if len(page) > _MOST_BYTES:
            raise StateUnavailable(f"the comparison of {tag} has more than {_MOST_BYTES} bytes")
        return page
