"""The list of models as a file that may change while the service runs: its last good content holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from manifest.profiles import ModelProfile
from registry.model_list import LONGEST, BadModelList, parse_model_list
from registry.providers import Providers

logger = logging.getLogger("bentoml.okawari.registry")

#: What tells that a file has changed: its inode, its times, its size; None: it cannot be looked at.
_Mark = tuple[int, int, int, int] | None


class ModelListFile:
    """The profiles in a file. Implements `manifest.profiles.Profiles`; without a path there are none.

    `read` and `refresh` are called by one thread; everybody may ask for the profiles and for `problem`, why
    the file cannot be used as it is now.
    """

    def __init__(self, path: Path | None, providers: Providers | None = None) -> None:
        """Without `providers` the entries' providers are not checked."""
        self.path = path
        self._providers = providers
        self._mark: _Mark = None
        self._profiles: Mapping[str, ModelProfile] = {}
        self.problem: str | None = None

    def __call__(self) -> Mapping[str, ModelProfile]:
        """The profiles that hold now, by model."""
        return self._profiles

    def read(self) -> None:
        """Read the file, whatever has changed. Raises `BadModelList`, naming file, line and field."""
        if self.path is None:
            return
        # The mark first: a file that changes while it is read is read again.
        self._mark = _mark_of(self.path)
        try:
            self._profiles = parse_model_list(_text(self.path), self._providers)
        except BadModelList as error:
            raise BadModelList([f"{self.path.name}: {each}" for each in error.findings]) from None
        self.problem = None

    def refresh(self) -> None:
        """Read the file if it has changed; where it cannot be used its last good content holds."""
        if self.path is None or (self._mark is not None and _mark_of(self.path) == self._mark):
            return
        before = self.problem
        try:
            self.read()
        except BadModelList as error:
            self.problem = f"{error}; its last good content holds"
            if self.problem != before:
                logger.error("%s", self.problem)
        else:
            logger.info("%s: %d models are declared", self.path.name, len(self._profiles))


def _mark_of(path: Path) -> _Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise BadModelList([f"is no file ({path})"])
        with path.open("rb") as file:
            return file.read(4 * LONGEST + 1).decode()
    except OSError as error:
        raise BadModelList([f"cannot be read: {error.strerror} ({path})"]) from None
    except UnicodeDecodeError:
        raise BadModelList([f"is not UTF-8 ({path})"]) from None
