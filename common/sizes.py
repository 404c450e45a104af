"""Amounts of memory as people write them: bytes, `8GB`, `512 MiB`, or a share such as `60%`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([A-Z]{0,3})")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")
#: The least amount that is taken for memory: less is a unit that was forgotten.
LEAST = 1_000_000


@dataclass(frozen=True, slots=True)
class MemoryAmount:
    """An amount of memory: so many `bytes`, or a `share` (above 0, at most 1) of what there is."""

    bytes: int | None = None
    share: float | None = None

    def of(self, whole: int) -> int:
        """The bytes that it means where there are `whole` of them."""
        return self.bytes if self.bytes is not None else int(whole * (self.share or 0.0))


def memory_amount(text: str | int) -> MemoryAmount:
    """Read an amount. Raises `ValueError`, naming what is allowed."""
    written = str(text).strip().upper()
    if (share := _SHARE.fullmatch(written)) is not None and 0 < float(share[1]) <= 100:
        return MemoryAmount(share=float(share[1]) / 100)
    size = _SIZE.fullmatch(written)
    if size is None or size[2] not in _UNITS:
        raise ValueError("write bytes, a size such as 8GB, 8192MB or 7.5GiB, or a share such as 60%")
    amount = int(float(size[1]) * _UNITS[size[2]]) if "." in size[1] else int(size[1]) * _UNITS[size[2]]
    if amount < LEAST:
        raise ValueError(f"must be at least {LEAST} bytes; is a unit missing, as in 8192MB?")
    return MemoryAmount(bytes=amount)
