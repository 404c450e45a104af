"""Quotas of subjects, devices and organisations: requests per minute and per day, over all workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from api.access.identity import Identity
from api.errors import QuotaExceeded
from common.quotas import Quota
from lineage.rate_limit import RateLimit

_WHOSE = {"subject": "this caller", "organisation": "this caller's organisation", "device": "this device"}


class UsedUp(Protocol):
    """A quota that is used up, for how many seconds."""

    @property
    def name(self) -> str:
        """Whose it is, as it was counted."""
        ...

    @property
    def quota(self) -> Quota:
        """How much it is."""
        ...

    @property
    def seconds(self) -> float:
        """When the next request is allowed."""
        ...


class Counter(Protocol):
    """Counts requests by name, for all workers."""

    def take(self, asked: Sequence[tuple[str, Quota]]) -> UsedUp | None:
        """Count one request for each name, or say which of them has used up its quota: then none is."""
        ...


@dataclass(frozen=True, slots=True)
class Quotas:
    """What callers may ask for; None: any number. At least one is given."""

    counter: Counter
    subject: Quota | None = None
    organisation: Quota | None = None
    device: Quota | None = None

    @property
    def counts_callers(self) -> bool:
        """Whether it matters who a caller is, beside devices."""
        return self.subject is not None or self.organisation is not None

    def take(self, caller: Identity) -> None:
        """Count one request of a caller, and of their organisations. Raises `QuotaExceeded`."""
        asked: list[tuple[str, Quota]] = []
        if self.subject is not None:
            asked.append((f"subject:{caller.subject}", self.subject))
        if self.organisation is not None:
            asked += [(f"organisation:{each}", self.organisation) for each in caller.organisations]
        self._count(asked)

    def take_device(self, device_id: str) -> None:
        """Count one request of a device. Raises `QuotaExceeded`."""
        if self.device is not None:
            self._count([(f"device:{device_id}", self.device)])

    def _count(self, asked: Sequence[tuple[str, Quota]]) -> None:
        excess = self.counter.take(asked) if asked else None
        if excess is not None:
            whose = _WHOSE[excess.name.partition(":")[0]]
            wait = math.ceil(excess.seconds)
            raise QuotaExceeded(f"{whose} may send {excess.quota} requests; retry in {wait} s", wait)


@dataclass(frozen=True, slots=True)
class DeviceQuota:
    """A `RateLimit` with the quota of each device behind its rate."""

    rates: RateLimit
    quotas: Quotas

    def take(self, device_id: str, pictures: int = 1) -> None:
        """See `RateLimit`. A request is one, however many pictures it has. Raises `QuotaExceeded`, too."""
        self.rates.take(device_id, pictures)
        self.quotas.take_device(device_id)
