"""Families that read several outputs, each bound by its name and never by its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hotswap.errors import VersionFailed
from hotswap.manifest import CONFIG_FILE, BadManifest, ModelConfig
from runners.families.base import Family, P


class NamedOutputs(Family[P]):
    """Reads the outputs that are `usual`, or as many others that `output.names` gives in their order."""

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
        """See `Family.reads`; whatever order the graph has them in."""
        missing = [name for name in self.names if name not in available]
        if missing:
            raise VersionFailed(
                f"family {self.name!r} reads {', '.join(self.usual)}: the graph has "
                f"{', '.join(available)}; if these are the same, {CONFIG_FILE} should list its names "
                "in that order in output.names"
            )
        return self.names
