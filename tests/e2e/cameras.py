"""Cameras that hand in pictures until each is accepted, whatever happens to the service meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx

from tests.e2e.pictures import picture

_BEGIN = datetime(2026, 11, 29, 6, tzinfo=UTC)
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A picture that a camera was told is kept."""

    device: str
    sha256: str
    size: int
    answer: dict[str, Any]


@dataclass
class Cameras:
    """Some devices with tokens of their own, each with so many pictures."""

    url: Callable[[], str]
    count: int
    pictures: int
    #: Seconds between two pictures of one device, by its own clock.
    pause: int = 1
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tries: int = 0

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._hand_in, args=(number,), daemon=True)
            for number in range(self.count)
        ]

    @property
    def tokens(self) -> dict[str, str]:
        """The environment variables of the tokens."""
        return {f"DEVICE_{number:03}_TOKEN": _token(number) for number in range(self.count)}

    def start(self) -> None:
        """Begin to hand in."""
        for thread in self._threads:
            thread.start()

    @property
    def are_done(self) -> bool:
        """Whether every picture was accepted, or refused for good."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Give up what is not accepted yet."""
        self._ending.set()
        for thread in self._threads:
            thread.join(2 * _PATIENCE)

    def _hand_in(self, number: int) -> None:
        with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
            for index in range(self.pictures):
                self._until_accepted(client, number, index)

    def _until_accepted(self, client: httpx.Client, number: int, index: int) -> None:
        image = picture_of(number, index)
        moment = _BEGIN + timedelta(seconds=self.pause * index, microseconds=number)
        form = {"device_id": f"device-{number:03}", "timestamp": moment.isoformat()}
        while not self._ending.is_set():
            self.tries += 1
            try:
                answer = client.post(
                    f"{self.url()}/api/v1/detect",
                    files={"image": (f"{index}.jpg", image)},
                    data=form,
                    headers={"X-API-Token": _token(number)},
                )
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                body = answer.json()
                self.accepted.append(Accepted(form["device_id"], sha256(image).hexdigest(), len(image), body))
                return
            if answer.status_code not in (429, 503):
                self.refused.append(f"{answer.status_code} {answer.text[:300]}")
                return
            time.sleep(0.1)


def picture_of(number: int, index: int) -> bytes:
    """A picture that no other camera has, and none at another time."""
    return picture(size=(256, 256), colour=(number % 256, index % 256, index // 256), quality=100) + (
        f"{number}/{index}".encode()  # bytes behind the end of a JPEG belong to no pixel
    )


def _token(number: int) -> str:
    return f"token-of-camera-{number}"


def versions(accepted: Sequence[Accepted]) -> set[str]:
    """Which versions answered."""
    return {each.answer["model_version"] for each in accepted}
