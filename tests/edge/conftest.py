"""The edge client's program, a folder of pictures, and a server that does what its script says."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.scripted_server import ScriptedServer, scripted_server

PROGRAM = Path(__file__).parents[2] / "examples" / "edge" / "client.py"
sys.path.append(str(PROGRAM.parent))  # as for a program that is started there


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """The scripted server."""
    with scripted_server() as server:
        yield server


class Site:
    """A device's folder: configuration, pictures, spool, and the client with a clock of the test's."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        (folder / "pictures").mkdir(parents=True)
        self.token = folder / "token"
        self.token.write_text("right\n")
        self.now = 1000.0
        self.waited: list[float] = []
        self.configure(server={"url": url, "timeout_sec": 30})

    def configure(self, **keys: Any) -> None:
        """Write the configuration, with these keys in the place of the usual ones."""
        usual = {
            "device_id": "cam-1",
            "token": {"file": "token"},
            "folder": "pictures",
            "spool": "spool",
            "settle_sec": 0,
            "poll_sec": 0,
        }
        before = yaml.safe_load(self.config.read_text()) if self.config.exists() else usual
        self.config.write_text(yaml.safe_dump({**before, **keys}))

    def picture(self, name: str, content: bytes, at: float = 1_800_000_000.5) -> Path:
        """Put a picture into the folder, taken at a moment."""
        path = self.folder / "pictures" / name
        path.write_bytes(content)
        os.utime(path, (at, at))
        return path

    def names(self, folder: str) -> list[str]:
        """What lies in one of the folders, without hidden files."""
        return sorted(each.name for each in (self.folder / folder).iterdir() if each.name[0] != ".")

    def run(self, once: bool = True) -> None:
        """The client, until all is delivered; pauses pass at once and are kept in `waited`."""
        from client import EdgeClient
        from detection_server import DetectionServer
        from edge_config import read_config
        from picture_spool import PictureSpool

        config = read_config(self.config)
        spool = PictureSpool(config.spool, config.spool.parent / "refused")
        try:
            with httpx.Client() as http:
                server = DetectionServer(config, http)
                client = EdgeClient(config, spool, server, clock=lambda: self.now, chance=lambda: 1.0)
                client.run(self._ending(), once=once)
        finally:
            spool.close()

    def _ending(self) -> threading.Event:
        event = threading.Event()

        def wait(seconds: float | None = None) -> bool:
            assert seconds is not None
            self.now += seconds
            self.waited.append(seconds)
            return False

        event.wait = wait  # type: ignore[method-assign]
        return event


@pytest.fixture
def site(tmp_path: Path, server: ScriptedServer) -> Site:
    """A device that sends to the scripted server."""
    return Site(tmp_path / "site", server.url)


MakeSite = Callable[[], Site]


@pytest.fixture
def make_site(tmp_path: Path, server: ScriptedServer) -> MakeSite:
    """Any number of devices."""
    numbers = iter(range(10_000))
    return lambda: Site(tmp_path / f"site-{next(numbers)}", server.url)
