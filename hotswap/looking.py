"""One look: what is in the store and what is wished, each as it was last seen while it cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from hotswap.artifact import ModelSight
from hotswap.desired import Desired, DesiredStore, settle_default
from hotswap.source import Source

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen. `away`: the store is not there, `sights` are those of the look before."""

    sights: Mapping[str, ModelSight] = field(default_factory=dict)
    document: Desired = field(default_factory=Desired)
    away: bool = False
    trouble: str | None = None


class Looking:
    """Looks for one process."""

    def __init__(self, source: Source, store: DesiredStore) -> None:
        self._source = source
        self._store = store
        self._read_once = False

    def look(self, before: Look) -> Look:
        """Look again. Raises what the store raises, and what the first reading of the wishes raises."""
        seen = self._source.look()
        sights = before.sights if seen is None else seen
        document, trouble = self._read(before.document)
        if document.default is None and sights:
            document = self._settle_default(document, sights)
        return Look(sights, document, seen is None, trouble)

    def _read(self, before: Desired) -> tuple[Desired, str | None]:
        """Read what is wanted. Once it was read, damage of the file stops neither serving nor swaps."""
        try:
            document = self._store.read()
            self._read_once = True
        except Exception as error:
            if not self._read_once:
                raise
            return before, f"the desired state cannot be read, the last one holds: {error}"
        return document, None

    def _settle_default(self, document: Desired, sights: Mapping[str, ModelSight]) -> Desired:
        """Store the default if it can be told. A state that can't be written must not stop a swap."""
        change = settle_default(sorted(sights))
        if change(document) == document:
            return document  # nothing to write: no lock at every look
        try:
            return self._store.edit(change)
        except Exception as error:  # noqa: BLE001 - see the promise above
            logger.debug("cannot remember the default model: %s", error)
            return change(document)
