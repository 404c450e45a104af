"""The base of families that read several outputs, each by its name, never by its position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hotswap.errors import VersionFailed
from manifest.version_manifest import CONFIG_FILE, BadManifest, ModelConfig
from runners.families.base import Family, P


class NamedOutputs(Family[P]):
    """Reads the outputs `usual`, or the same number of outputs listed in `output.names`, in that order."""

    usual: ClassVar[tuple[str, ...]]

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        self.names = tuple(config.output.names or self.usual)
        if not len(set(self.names)) == len(self.names) == len(self.usual):
            raise BadManifest(
                f"{CONFIG_FILE}: output.names: family {self.name!r} reads {len(self.usual)} outputs "
                f"({', '.join(self.usual)}), found {', '.join(self.names)}"
            )

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """See `Family.reads`; the graph may have the outputs in any order."""
        missing = [name for name in self.names if name not in available]
        if missing:
            raise VersionFailed(
                f"family {self.name!r} reads {', '.join(self.usual)}: the graph has "
                f"{', '.join(available)}; if these are the same outputs, list their names in that order in "
                f"output.names of {CONFIG_FILE}"
            )
        return self.names
