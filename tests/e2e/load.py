"""Requests from several connections, and what became of each of them."""

from __future__ import annotations

import http.client
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests import builders
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import PAUSE
from tests.e2e.waiting import until

_TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class Shot:
    """One request. `status` 0: no answer, `why` says what happened instead."""

    begun: float
    ended: float
    status: int
    claimed: str | None = None
    told: str | None = None
    why: str = ""
    closes: bool = False
    fresh: bool = False
    #: When its last byte had been given to the kernel, on a connection that was made.
    sent: float = math.inf

    @property
    def contradicts(self) -> bool:
        """Whether the content was made by another version than the answer claims."""
        return self.status == 200 and self.claimed != self.told


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of `/predict`: a picture with some options, and how an answer tells its version.

    `tells` gives None for an answer that no version gives.
    """

    picture: bytes
    query: Mapping[str, str]
    tells: Callable[[dict[str, Any]], str | None]


class Load:
    """Sends pictures until it is left. Version `v<n>` of the model must have code `n` if it tells one.

    With `asks`, each connection asks them in turn instead.
    """

    def __init__(
        self,
        service: Service,
        *,
        kept: int = 3,
        fresh: int = 2,
        model: str = "m",
        told: bool = True,
        asks: Sequence[Ask] = (),
    ) -> None:
        self._port = service.port
        self._asks = asks or [Ask(picture(), {}, _code if told else _claimed)]
        self._model = model
        self._shots: list[Shot] = []
        self._ending = threading.Event()
        kinds = [False] * kept + [True] * fresh
        self._threads = [threading.Thread(target=self._send, args=(kind,), daemon=True) for kind in kinds]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> list[Shot]:
        """Stop sending; every shot, in the order they ended."""
        self._ending.set()
        for thread in self._threads:
            thread.join(_TIMEOUT + 5)
        return self.shots

    @property
    def shots(self) -> list[Shot]:
        """Every shot so far."""
        return list(self._shots)

    def sent_before(self, moment: float) -> list[Shot]:
        """Those that the service could hear by then, however long their thread had to wait to send them."""
        return [shot for shot in self.shots if shot.sent < moment]

    @property
    def failures(self) -> list[Shot]:
        """Those that were not answered with 200."""
        return [shot for shot in self.shots if shot.status != 200]

    @property
    def contradictions(self) -> list[Shot]:
        """Those whose content contradicts what they claim."""
        return [shot for shot in self.shots if shot.contradicts]

    def reach(self, count: int) -> None:
        """Wait until so many requests were answered."""
        until(lambda: len(self._shots) >= count, f"{count} requests", seconds=600)

    def sees(self, version: str) -> None:
        """Wait until a request that began after this call was answered by this version."""
        begun = time.monotonic()
        until(
            lambda: any(shot.begun >= begun and shot.claimed == version for shot in self._shots[-50:]),
            f"an answer of {version}",
            seconds=240,  # an import gives way to everything else that runs on the machine
        )

    def _send(self, fresh: bool) -> None:
        connection, asks = self._connection(), itertools.cycle(self._asks)
        while not self._ending.wait(PAUSE):
            self._shots.append(self._one(connection, fresh, next(asks)))
            if fresh or self._shots[-1].status == 0:
                connection.close()
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)

    def _one(self, connection: http.client.HTTPConnection, fresh: bool, ask: Ask) -> Shot:
        path = f"/predict?{urlencode({'model': self._model, **ask.query})}"
        headers = {"Content-Type": "image/jpeg"} | ({"Connection": "close"} if fresh else {})
        begun, sent = time.monotonic(), math.inf
        try:
            connection.request("POST", path, ask.picture, headers)
            sent = time.monotonic()
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Shot(begun, time.monotonic(), 0, why=repr(error), fresh=fresh, sent=sent)
        closes = answer.headers.get("Connection", "").lower() == "close"
        claimed, told = _versions(answer.status, body, ask)
        why = "" if answer.status == 200 else body.decode("utf-8", "replace")[:300]
        return Shot(begun, time.monotonic(), answer.status, claimed, told, why, closes, fresh, sent)


def _versions(status: int, body: bytes, ask: Ask) -> tuple[str | None, str | None]:
    if status != 200:
        return None, None
    document = json.loads(body)
    return _claimed(document), ask.tells(document)


def _claimed(document: dict[str, Any]) -> str:
    return str(document["model_version"])


def _code(document: dict[str, Any]) -> str:
    return f"v{builders.code_of(document['scores'][0])}"


class Readiness:
    """Asks /readyz without pause, over a kept connection and a fresh one in turn."""

    def __init__(self, service: Service) -> None:
        self._port = service.port
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self.asked = 0
        self.flaps: list[str] = []

    def __enter__(self) -> Readiness:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(_TIMEOUT + 5)

    def _poll(self) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        while not self._ending.wait(0.01):
            self._ask(kept)
            fresh = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
            self._ask(fresh)
            fresh.close()
        kept.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        self.asked += 1
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.flaps.append(repr(error))
            connection.close()
            return
        if answer.status != 200:
            self.flaps.append(f"{answer.status} {body!r}")
