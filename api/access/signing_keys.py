"""The public keys of the identity provider: fetched when they are needed, kept for a bounded time.

While the provider is away the last keys go on being used, for a bounded time too. A token that names an
unknown key lets them be fetched again, at most every so often: names are chosen by the sender of a token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from api.errors import IdentityProviderUnavailable, InvalidToken

logger = logging.getLogger("bentoml.okawari.identity")

#: Keys that are looked at; a provider has two or three.
_MOST_KEYS = 100
_LEAST_RSA_BITS = 2048
#: Beginning of an algorithm's name → type of its keys.
_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

#: Returns the JSON Web Key Set; runs in a thread. Raises OSError, its message says why.
Fetch = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """How long keys are used, in seconds.

    They are fetched again after `lifetime`, and used for `outage` at most while that fails. After a failure
    the provider is left alone for `pause`; unknown names of keys make it be asked every `unknown` at most.
    """

    lifetime: float = 300.0
    outage: float = 3600.0
    pause: float = 5.0
    unknown: float = 10.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key; `algorithm` is the only one that it is for, None: any of its type."""

    name: str | None
    kind: str
    algorithm: str | None
    key: Any

    def fits(self, name: str | None, algorithm: str) -> bool:
        """Whether a token that names its key and algorithm so may be signed with this one."""
        return (
            name in (None, self.name)
            and self.kind == _TYPES.get(algorithm[:2])
            and self.algorithm in (None, algorithm)
        )


class SigningKeys:
    """The keys, for one event loop at a time."""

    def __init__(
        self,
        fetch: Fetch,
        times: KeyTimes = KeyTimes(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._times = times
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._looked: float | None = None
        self._problem: str | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, name: str | None, algorithm: str) -> Any:
        """The key that a token names. Raises `InvalidToken`, and `IdentityProviderUnavailable`."""
        await self._keep_fresh()
        key = self._match(name, algorithm)
        if key is None and await self._looked_again():
            key = self._match(name, algorithm)
        if key is not None:
            return key
        if self._problem is not None:
            raise self._unavailable()
        raise InvalidToken("the token is signed with a key that the identity provider does not have")

    def _match(self, name: str | None, algorithm: str) -> Any:
        """The key of that name; of a token that names none, the only one that fits."""
        fitting = [each for each in self._keys if each.fits(name, algorithm)]
        return fitting[0].key if fitting and (name is not None or len(fitting) == 1) else None

    async def _keep_fresh(self) -> None:
        """Fetch the keys when it is time; wait for that only where the present ones are too old."""
        age = self._age(self._fetched)
        if age < self._times.lifetime / 2:
            return
        usable = age < self._times.outage
        if age >= self._times.lifetime and (self._problem is None or not usable):
            await self._fetch_now()
        else:
            self._begin()
        if self._age(self._fetched) >= self._times.outage:
            raise self._unavailable()

    async def _looked_again(self) -> bool:
        """Whether the keys were fetched again for the sake of an unknown one."""
        if self._age(self._looked) < self._times.unknown:
            return False
        self._looked = self._clock()
        await self._fetch_now()
        return True

    def _age(self, moment: float | None) -> float:
        return float("inf") if moment is None else self._clock() - moment

    def _begin(self) -> asyncio.Task[None] | None:
        """Fetch in the background, unless that failed just now; None then."""
        if self._fetching is None or self._fetching.done():
            if self._problem is not None and self._age(self._tried) < self._times.pause:
                return None
            self._fetching = asyncio.get_running_loop().create_task(self._refresh())
        return self._fetching

    async def _fetch_now(self) -> None:
        fetching = self._begin()
        if fetching is not None:
            # Whoever leaves does not stop it: others wait for it, too.
            await asyncio.shield(fetching)

    async def _refresh(self) -> None:
        self._tried = self._clock()
        try:
            keys = tuple(_usable(await asyncio.to_thread(self._fetch)))
        except OSError as error:
            if self._problem is None:
                logger.warning("the identity provider's keys cannot be fetched: %s", error)
            self._problem = str(error)
            return
        if self._problem is not None:
            logger.info("the identity provider's keys are fetched again")
        self._keys, self._fetched, self._problem = keys, self._clock(), None

    def _unavailable(self) -> IdentityProviderUnavailable:
        return IdentityProviderUnavailable(
            f"the keys of the identity provider cannot be fetched ({self._problem}); retry shortly",
            self._times.pause,
        )


def _usable(document: Mapping[str, Any]) -> Iterable[SigningKey]:
    """The public keys of a set that may check signatures; others are skipped."""
    listed = document.get("keys")
    for each in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        if isinstance(each, dict) and each.get("kty") in _TYPES.values() and each.get("use") != "enc":
            try:
                key = jwt.PyJWK(each).key
            except Exception:  # noqa: BLE001, S112 - whatever libraries say of a key that they cannot read
                continue
            if getattr(key, "key_size", _LEAST_RSA_BITS) >= _LEAST_RSA_BITS or each["kty"] != "RSA":
                yield SigningKey(_text(each.get("kid")), each["kty"], _text(each.get("alg")), key)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
