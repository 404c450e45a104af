"""Pages of comparisons that the service shows: one for each version that was held against another."""

from __future__ import annotations

from pathlib import Path

from common.files import write_atomically
from hotswap.errors import StateUnavailable
from manifest.tags import ModelTag

#: More than any page that `okawari compare` writes.
_MOST_BYTES = 20_000_000


class ComparisonPages:
    """`<home>/state/comparisons/<model>/<version>/<digest>.html`: about these files, whatever the version is.

    A newer page takes the place of an older one.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "comparisons"

    def write(self, tag: ModelTag, digest: str, page: bytes) -> None:
        """Show this page from now on. Raises `OSError`."""
        path = self._path(tag, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page)
        for other in set(path.parent.glob("*.html")) - {path}:
            other.unlink(missing_ok=True)

    def read(self, tag: ModelTag, digest: str) -> bytes | None:
        """The page about a version with these files; None where there is none. Raises `StateUnavailable`."""
        try:
            with self._path(tag, digest).open("rb") as file:
                page = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnavailable(f"the comparison of {tag} cannot be read: {error.strerror}") from None
        if len(page) > _MOST_BYTES:
            raise StateUnavailable(f"the comparison of {tag} has more than {_MOST_BYTES} bytes")
        return page

    def _path(self, tag: ModelTag, digest: str) -> Path:
        return self._folder / tag.name / tag.version / f"{digest.removeprefix('sha256:')}.html"
