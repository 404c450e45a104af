"""Devices in memory: the twin of the device stores in databases, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hotswap.errors import BadRequest, Conflict
from lineage.devices import SEEN_EVERY, DeviceEntry, IssuedTokens, TokenHolder, check_device_id


class DevicesMemory:
    """Forgets everything when its process ends; in all else it keeps the promises of `DeviceStore`."""

    def __init__(self) -> None:
        self._devices: dict[str, DeviceEntry] = {}
        self._holders: dict[str, TokenHolder] = {}

    def add(self, device_id: str, name: str | None, hashed: str, moment: datetime) -> None:
        entry = DeviceEntry(check_device_id(device_id), name, moment, None, None, 0)
        entry = self._devices.setdefault(device_id, entry)
        if self._valid(device_id, moment):
            raise Conflict(f"device {device_id} has a token")
        self._devices[device_id] = replace(entry, name=name or entry.name)
        self._holders[hashed] = TokenHolder(hashed, device_id)

    def devices(self, moment: datetime) -> Sequence[DeviceEntry]:
        return [
            replace(entry, tokens=len(self._valid(device_id, moment)))
            for device_id, entry in sorted(self._devices.items())
        ]

    def rotate(self, device_id: str, hashed: str, moment: datetime, grace: timedelta) -> datetime | None:
        self._known(device_id)
        ends = []
        for holder in self._valid(device_id, moment):
            end = min(holder.expires_at or moment + grace, moment + grace)
            self._holders[holder.hashed] = replace(holder, expires_at=end)
            ends.append(end)
        self._holders[hashed] = TokenHolder(hashed, device_id)
        return max(ends, default=None)

    def disable(self, device_id: str, moment: datetime) -> None:
        self._devices[device_id] = replace(self._known(device_id), disabled_at=moment)

    def enable(self, device_id: str) -> None:
        self._devices[device_id] = replace(self._known(device_id), disabled_at=None)

    def tokens(self) -> IssuedTokens:
        disabled = frozenset(one.device_id for one in self._devices.values() if one.disabled_at)
        return IssuedTokens(dict(self._holders), disabled)

    def seen(self, moments: Mapping[str, datetime]) -> None:
        for device_id, moment in moments.items():
            entry = self._devices.get(device_id)
            if entry and (entry.last_seen is None or entry.last_seen <= moment - SEEN_EVERY):
                self._devices[device_id] = replace(entry, last_seen=moment)

    def _known(self, device_id: str) -> DeviceEntry:
        if device_id not in self._devices:
            raise BadRequest(f"there is no device {device_id!r}")
        return self._devices[device_id]

    def _valid(self, device_id: str, moment: datetime) -> list[TokenHolder]:
        ours = (one for one in self._holders.values() if one.device_id == device_id)
        return [one for one in ours if one.is_valid(moment)]
