"""Who a device is: a token in a header, one for each device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from api.errors import ForeignDevice, Unauthorized


class Tokens(Protocol):
    """Which device a token belongs to."""

    def device_of(self, token: str) -> str | None:
        """The device; None for an unknown, expired or disabled token. May wait for a database."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceAuth:
    """Checks tokens of devices. Without `enabled` any device may name itself."""

    tokens: Tokens
    header: str
    enabled: bool = True

    def device(self, headers: Mapping[str, str]) -> str | None:
        """The device that sends; None where tokens are not asked for. Raises `Unauthorized`."""
        if not self.enabled:
            return None
        token = headers.get(self.header)
        if not token:
            raise Unauthorized(f"send the device's token in the header {self.header}")
        device = self.tokens.device_of(token)
        if device is None:
            raise Unauthorized(f"{self.header}: this token is unknown, expired or disabled; get a new one")
        return device


def check_device(sender: str | None, named: str) -> None:
    """Raise `ForeignDevice` when a device hands something in for another."""
    if sender not in (None, named):
        raise ForeignDevice("device_id: the token belongs to another device; send its own id")
