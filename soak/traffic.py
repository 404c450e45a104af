"""Requests at a fixed rate, each answer held against the version that it names."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from soak.models import CLASSIFIER, DETECTOR, GUESTS, large_picture, picture, says_it_is

#: Of all requests: pictures that are stored, to the models that do not all fit, to the detector.
_STORED_SHARE, _GUESTS_SHARE, _DETECTOR_SHARE = 0.01, 0.005, 0.1
#: Refusals that are the service's documented answer to too much at once, or to the end of a worker.
_REFUSALS = frozenset({429, 503, 507})
#: What waits at most; a service that stands still gets no more requests than these.
_MOST_AT_ONCE = 64
_SECONDS = 30.0
#: An idle connection is given up before the service closes it, after 5 s, under a request.
_IDLE_SECONDS = 2.0
#: So many failures are recorded with what was said.
_MOST_TOLD, _LONGEST = 100, 500


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that should not have failed: when it was sent, to which model, and what came of it."""

    sent: str
    model: str
    milliseconds: float
    said: str


class Sent:
    """A request that is under way."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._at = datetime.now(UTC)
        self._began = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        """Since it was sent."""
        return (time.perf_counter() - self._began) * 1e3

    def failure(self, said: str) -> FailedRequest:
        """It has failed now."""
        return FailedRequest(
            self._at.isoformat(timespec="milliseconds"), self.model, round(self.milliseconds), said
        )


@dataclass(slots=True)
class Counts:
    """What became of requests. `lost`: the connection broke while a worker was being killed on purpose."""

    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    contradictions: int = 0
    failures: list[FailedRequest] = field(default_factory=list)
    #: Milliseconds of each answer since they were last taken.
    latencies: list[float] = field(default_factory=list)

    def fail(self, code: str, failure: FailedRequest) -> None:
        """Count a failure."""
        self.failed[code] += 1
        if len(self.failures) < _MOST_TOLD:
            self.failures.append(failure)

    def take_latencies(self) -> list[float]:
        """The latencies since the last call."""
        taken, self.latencies = self.latencies, []
        return taken


class Traffic:
    """Sends requests until it is stopped. `expects_loss` says whether a worker was killed just now."""

    def __init__(self, url: str, rate: float, expects_loss: Callable[[], bool], *, device: str) -> None:
        """`rate` is requests a second; `device` is the token of `device-001`."""
        self.counts = Counts()
        self._url = url
        self._rate = rate
        self._expects_loss = expects_loss
        self._device = device
        self._picture, self._large = picture(), large_picture()
        #: Each of those that do not all fit is asked once before chance decides, also in a short run.
        self._first = list(GUESTS)
        self._stopping = asyncio.Event()
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)

    def stop(self) -> None:
        """Send no more; what is under way is answered."""
        self._stopping.set()

    async def run(self) -> None:
        """Send requests; late ones are not caught up on."""
        connector = aiohttp.TCPConnector(limit=_MOST_AT_ONCE, keepalive_timeout=_IDLE_SECONDS)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(self._url, connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
        ):
            due = time.monotonic()
            while not self._stopping.is_set():
                await self._room.acquire()
                tasks.create_task(self._send(session))
                due = max(due + 1 / self._rate, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, session: aiohttp.ClientSession) -> None:
        stored, model = (False, self._first.pop()) if self._first else _next_request()
        asked = (
            self._store(session)
            if stored
            else session.post("/predict", params={"model": model}, data=self._picture)
        )
        sent = Sent(model)
        try:
            async with asked as answer:
                status, content = answer.status, await answer.read()
            self._judge(status, content, sent)
        except (aiohttp.ClientError, TimeoutError) as error:
            if self._expects_loss():
                self.counts.lost += 1
            else:
                self.counts.fail(type(error).__name__, sent.failure(str(error)))
        finally:
            self._room.release()

    def _store(self, session: aiohttp.ClientSession) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        form = aiohttp.FormData({"device_id": "device-001", "timestamp": datetime.now(UTC).isoformat()})
        form.add_field("image", self._large, filename="soak.jpg")
        return session.post("/api/v1/detect", data=form, headers={"X-API-Token": self._device})

    def _judge(self, status: int, content: bytes, sent: Sent) -> None:
        if status in _REFUSALS:
            self.counts.refused[_code(status, content)] += 1
            return
        if status != HTTPStatus.OK:
            said = content.decode(errors="replace")[:_LONGEST]
            self.counts.fail(_code(status, content), sent.failure(said))
            return
        body: dict[str, Any] = json.loads(content)
        labels = [each["label"] for each in body["detections"]]
        self.counts.answered += 1
        self.counts.latencies.append(sent.milliseconds)
        if body["model"] != sent.model or not says_it_is(labels, sent.model, body["model_version"]):
            self.counts.contradictions += 1


def _next_request() -> tuple[bool, str]:
    """Whether the picture is stored, and the model that is asked."""
    chance = random.random()  # noqa: S311 - no secret
    if chance < _STORED_SHARE:
        return True, DETECTOR
    if chance < _STORED_SHARE + _GUESTS_SHARE:
        return False, random.choice(GUESTS)  # noqa: S311
    return False, DETECTOR if chance < _STORED_SHARE + _GUESTS_SHARE + _DETECTOR_SHARE else CLASSIFIER


def _code(status: int, content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{status}"
