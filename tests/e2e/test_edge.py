"""The edge client and the real detection server, each killed meanwhile: every picture is kept once."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
PROGRAM = ROOT / "examples" / "edge" / "client.py"
TOKEN = "a-token-of-the-test"


class Device:
    """A camera's folder, and the program that sends it."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder = folder
        (folder / "pictures").mkdir(parents=True)
        (folder / "token").write_text(TOKEN)
        document = {
            "server": {"url": f"http://127.0.0.1:{service.port}", "timeout_sec": 20},
            "device_id": "cam-1",
            "token": {"file": "token"},
            "folder": "pictures",
            "spool": "spool",
            "batch_size": 6,
            "settle_sec": 0,
            "poll_sec": 0.1,
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(document))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        with (self.folder / "words").open("ab") as words:
            command = [sys.executable, str(PROGRAM), "--config", str(self.folder / "config.yaml"), *more]
            self.process = subprocess.Popen(command, stderr=words)
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def shoot(self, number: int) -> str:
        """Put another picture into the folder; its sha256."""
        data = picture(size=(320, 256), colour=(number % 256, number // 256, 77))
        (self.folder / "pictures" / f"shot-{number:04}.jpg").write_bytes(data)
        return hashlib.sha256(data).hexdigest()


@pytest.fixture
def service(make_service: Callable[..., Service], store: Store, tmp_path: Path) -> Service:
    config = tmp_path / "config.yaml"
    config.write_text("observability: {metrics: {enabled: false}}\nauth: {tokens: {cam-1: '${CAM}'}}\n")
    store.add("v1", 1)
    return make_service(store.home, OKAWARI_CONFIG=str(config), CAM=TOKEN).ready()


@pytest.fixture
def device(service: Service, tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path / "device", service)
    yield device
    device.kill()


def _recorded(service: Service) -> list[str]:
    """The sha256 of every recorded picture; none before the first one has made the tables."""
    try:
        with closing(sqlite3.connect(f"file:{service.home}/records.db?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute("select sha256 from images")]
    except sqlite3.OperationalError:
        return []


def test_every_picture_is_kept_exactly_once_whoever_is_killed(service: Service, device: Device) -> None:
    shot = []
    for turn in range(4):
        shot += [device.shoot(20 * turn + number) for number in range(20)]
        device.start()
        seen = len(shot) // 2
        until(lambda seen=seen: len(_recorded(service)) >= seen, "some are kept")
        device.kill()
        if turn % 2:
            service.destroy()
            service.ready()
    (device.folder / "pictures" / "text.jpg").write_bytes(b"no picture")
    assert device.start("--once").wait(120) == 0, (device.folder / "words").read_text()
    assert sorted(_recorded(service)) == sorted(shot)
    stored = (service.home / "pictures").rglob("*.jpg")
    assert sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in stored) == sorted(shot)
    (refused,) = (device.folder / "refused").iterdir()
    assert "invalid_image" in (refused / "reason.txt").read_text()


def test_a_wrong_token_ends_the_client_and_loses_nothing(service: Service, device: Device) -> None:
    (device.folder / "token").write_text("wrong")
    sha256 = device.shoot(1)
    assert device.start("--once").wait(60) == 3
    (device.folder / "token").write_text(TOKEN)
    assert device.start("--once").wait(60) == 0
    assert _recorded(service) == [sha256]
