"""Devices and their tokens: what is kept of them, and the contract of its store.

A token is 32 random bytes. Only its SHA-256 is kept: what has so much chance in it cannot be guessed from
its hash, so no slow hash is needed, and a request costs microseconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

from hotswap.errors import BadRequest
from lineage.paths import DEVICE_ID

#: How long the token before stays valid after a rotation.
GRACE = timedelta(hours=24)
#: A device's moment of being seen is written so often at most, beside what `ImageRecordStore.save` writes.
SEEN_EVERY = timedelta(minutes=1)
_TOKEN_BYTES = 32
_VARIABLE = re.compile(r"DEVICE_[A-Z0-9]+(?:_[A-Z0-9]+)*_TOKEN")


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device. `tokens` counts those that are valid: none, one, or two during a rotation."""

    device_id: str
    name: str | None
    created_at: datetime
    last_seen: datetime | None
    disabled_at: datetime | None
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whose token it is, and until when."""

    hashed: str
    device_id: str
    expires_at: datetime | None = None

    def is_valid(self, moment: datetime) -> bool:
        """Whether the token may still be used."""
        return self.expires_at is None or moment < self.expires_at


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """All tokens of a store by their hash, and the devices that are refused with any token."""

    holders: Mapping[str, TokenHolder] = field(default_factory=dict)
    disabled: frozenset[str] = frozenset()


class DeviceStore(Protocol):
    """The devices. Each method raises `RecordsUnavailable` when the database cannot be used."""

    def add(self, device_id: str, name: str | None, hashed: str, moment: datetime) -> None:
        """Give a device its first token; make the device where it is new.

        Raises `Conflict` where it has a token already.
        """
        ...

    def devices(self, moment: datetime) -> Sequence[DeviceEntry]:
        """All devices in the order of their ids."""
        ...

    def rotate(self, device_id: str, hashed: str, moment: datetime, grace: timedelta) -> datetime | None:
        """Give a device another token; those before end after the grace time, or before if they did.

        When the last of those before ends; None where there was none. Raises `BadRequest` for a device that
        is not known.
        """
        ...

    def disable(self, device_id: str, moment: datetime) -> None:
        """Refuse a device with any token. Raises `BadRequest` for a device that is not known."""
        ...

    def enable(self, device_id: str) -> None:
        """Take that back. Raises `BadRequest` for a device that is not known."""
        ...

    def tokens(self) -> IssuedTokens:
        """All tokens, and the disabled devices."""
        ...

    def seen(self, moments: Mapping[str, datetime]) -> None:
        """Note when devices were seen last; what is within `SEEN_EVERY` of the last note is left out."""
        ...


def new_token() -> str:
    """A token: 32 random bytes, in characters that stand in URLs and headers."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> str:
    """What is kept of a token: 64 hexadecimal digits."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def check_device_id(device_id: str) -> str:
    """The id, if a device may be called so. Raises `BadRequest`."""
    if DEVICE_ID.fullmatch(device_id):
        return device_id
    allowed = "1 to 100 letters, digits, and . _ - after the first"
    raise BadRequest(f"device_id {device_id[:110]!r} is not allowed: {allowed}")


def environment_tokens(environment: Mapping[str, str]) -> dict[str, str]:
    """The token of each device that an environment variable names.

    `DEVICE_<NAME>_TOKEN` is that of `device-<name>`, in lower case and with - for _: `DEVICE_001_TOKEN` is
    that of `device-001`. Empty variables count as absent.
    """
    return {
        name.removesuffix("_TOKEN").lower().replace("_", "-"): token.strip()
        for name, token in sorted(environment.items())
        if _VARIABLE.fullmatch(name) and token.strip()
    }
