"""Which device a token belongs to, asked at every request: from memory, kept fresh from the store."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from lineage.devices import (
    SEEN_EVERY,
    DeviceStore,
    IssuedTokens,
    TokenHolder,
    check_device_id,
    token_hash,
)
from lineage.errors import RecordsUnavailable

Clock = Callable[[], datetime]
_NO_HASH = "-" * 64


class DeviceTokens:
    """The tokens of configuration and environment, and those of the store."""

    def __init__(
        self,
        static: Mapping[str, str],
        store: DeviceStore | None,
        interval: float = 5.0,
        *,
        clock: Clock = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`static` has the token of each device; the store is asked every `interval` seconds at most.

        Raises `BadRequest` for an id that no device may have, and ValueError where two devices have the same
        token, or one is blank.
        """
        self._static = _static_holders(static)
        self._store = store
        self._interval = interval
        self._clock = clock
        self._monotonic = monotonic
        self._issued: IssuedTokens | None = None if store is not None else IssuedTokens()
        self._problem: RecordsUnavailable | None = None
        self._asked: float | None = None
        self._refreshing = threading.Lock()
        self._seen: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    def device_of(self, token: str) -> str | None:
        """The device of a token; None for a wrong or outdated one, and for a device that is disabled.

        May ask the database, so call it in a thread. While that is away the last known tokens hold; raises
        `RecordsUnavailable` where none are known yet, and the token is not a static one.
        """
        self.refresh()
        hashed, now = token_hash(token), self._clock()
        issued = self._issued or IssuedTokens()
        holder = _holder(self._static, hashed) or _holder(issued.holders, hashed)
        if holder is None and self._issued is None:
            raise RecordsUnavailable(str(self._problem or "the tokens are being read; retry shortly"))
        if holder is None or not holder.is_valid(now) or holder.device_id in issued.disabled:
            return None
        self._seen[holder.device_id] = now
        return holder.device_id

    def refresh(self) -> None:
        """Ask the store, unless that was done just now; others go on with what is known meanwhile."""
        if self._store is None or not self._is_stale():
            return
        # Who comes first of all has nothing to go on with, and waits.
        if not self._refreshing.acquire(blocking=self._issued is None):
            return
        try:
            if self._is_stale():
                self._asked = self._monotonic()
                self._ask(self._store)
        finally:
            self._refreshing.release()

    def _is_stale(self) -> bool:
        return self._asked is None or self._monotonic() - self._asked >= self._interval

    def _ask(self, store: DeviceStore) -> None:
        try:
            self._issued = store.tokens()
            self._problem = None
            self._write_seen(store)
        except RecordsUnavailable as problem:
            self._problem = problem

    def _write_seen(self, store: DeviceStore) -> None:
        due = {device: moment for device, moment in list(self._seen.items()) if self._is_due(device, moment)}
        if due:
            store.seen(due)
            self._written |= due

    def _is_due(self, device: str, moment: datetime) -> bool:
        written = self._written.get(device)
        return written is None or moment - written >= SEEN_EVERY


def _holder(holders: Mapping[str, TokenHolder], hashed: str) -> TokenHolder | None:
    """The holder of a hash. What is compared is the same for each token, known or not.

    The table is entered by the hash of what a caller sends, whose digits the caller cannot choose.
    """
    holder = holders.get(hashed)
    is_same = hmac.compare_digest(holder.hashed if holder else _NO_HASH, hashed)
    return holder if is_same else None


def _static_holders(static: Mapping[str, str]) -> dict[str, TokenHolder]:
    holders: dict[str, TokenHolder] = {}
    for device_id, token in static.items():
        check_device_id(device_id)
        if not token.strip():
            raise ValueError(f"the token of device {device_id} is blank")
        hashed = token_hash(token)
        if hashed in holders:
            raise ValueError(f"the devices {holders[hashed].device_id} and {device_id} have the same token")
        holders[hashed] = TokenHolder(hashed, device_id)
    return holders
