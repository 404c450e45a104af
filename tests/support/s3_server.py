"""An S3 server for tests: versitygw, built by Go once, else moto, which checks no key and forgets all."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_connection, socket
from uuid import uuid4

import httpx
import pytest
from obstore.store import S3Store

from adapters.pictures.picture_options import PictureOptions
from scripts import clients
from tests.support.picture_places import PicturePlace

_ACCESS_KEY = "okawari-test"
SECRET_KEY = "okawari-test-secret-5d1c"
_PATIENCE = 30.0


class S3Server:
    """A server of its own on a free port of 127.0.0.1. Raises `clients.Unavailable` where there is none."""

    def __init__(self) -> None:
        self.program = _program()
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="okawari-s3-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_real(self) -> bool:
        """Whether it checks keys, and keeps what was stored."""
        return self.program.name == "versitygw"

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._port}"

    def place(self) -> PicturePlace:
        """A new bucket."""
        bucket = f"pictures-{uuid4().hex[:12]}"
        if self.is_real:
            (self._buckets / bucket).mkdir()
        else:
            httpx.put(f"{self.endpoint}/{bucket}").raise_for_status()
        server = self if self.is_real else None
        return PicturePlace("s3", f"s3://{bucket}/cameras", server, self.options, checks_keys=self.is_real)

    def bucket(self, name: str) -> S3Store:
        """The bucket of that name, made unless it is there, for who holds the key."""
        if self.is_real:
            (self._buckets / name).mkdir(exist_ok=True)
        else:
            httpx.put(f"{self.endpoint}/{name}").raise_for_status()
        return S3Store(
            name,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=_ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    @property
    def variables(self) -> dict[str, str]:
        """The settings by which the service reads pictures here."""
        return {
            "MINIO_ENDPOINT": f"127.0.0.1:{self._port}",
            "MINIO_ACCESS_KEY": _ACCESS_KEY,
            "MINIO_SECRET_KEY": SECRET_KEY,
        }

    @property
    def options(self) -> PictureOptions:
        """How its objects are reached."""
        return PictureOptions(self.endpoint, _ACCESS_KEY, SECRET_KEY, allow_http=True)

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        environment = {"PATH": os.defpath, "ROOT_ACCESS_KEY": _ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        self._buckets.mkdir(exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, *self._arguments], stdout=log, stderr=log, env=environment, cwd=self._folder
            )
        until = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.program.name}: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server; its connections break at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _arguments(self) -> list[str]:
        if self.is_real:
            return ["--quiet", "--port", f"127.0.0.1:{self._port}", "posix", str(self._buckets)]
        return ["--host", "127.0.0.1", "--port", str(self._port)]

    @property
    def _buckets(self) -> Path:
        return self._folder / "buckets"

    def _answers(self) -> bool:
        try:
            create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


def _program() -> Path:
    try:
        return clients.build("versitygw") / "bin" / "versitygw"
    except clients.Unavailable:
        return clients.build("moto") / "bin" / "moto_server"


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server while it is needed."""
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server for all tests of this process."""
    try:
        with running_s3() as server:
            yield server
    except clients.Unavailable as error:
        pytest.skip(f"no S3 server: {error}")
