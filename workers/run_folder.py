"""The run folder: lock, pid and reports of the running service, as files.

`<home>/run/service.lock` is held by the master as long as it lives; a lock that is not held means
*down*, whatever pid stands in `service.pid`. Each worker writes `workers/<pid>.json`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from common.files import write_atomically


class HomeInUse(RuntimeError):
    """Another service holds this home; the message names its pid."""


class GenerationState(BaseModel):
    """One version in one worker, as the lifecycle words say it."""

    model_config = ConfigDict(extra="ignore")

    version: str
    state: str
    generation: int = 0
    digest: str | None = None
    reason: str | None = None
    leases: int = 0
    device: str | None = None
    device_reason: str | None = None


class ModelState(BaseModel):
    """One model in one worker. `away` is the version that a request brings into memory."""

    model_config = ConfigDict(extra="ignore")

    target: str | None = None
    serving: str | None = None
    generation: int | None = None
    revision: int = 0
    away: str | None = None
    generations: list[GenerationState] = []


class GrpcState(BaseModel):
    """Where one worker takes calls over gRPC, and how."""

    model_config = ConfigDict(extra="ignore")

    host: str
    port: int
    tls: bool = False
    client_certificates: bool = False


class WorkerState(BaseModel):
    """What one worker wrote last; `host`, `port` and `tls` are those of HTTP."""

    model_config = ConfigDict(extra="ignore")

    pid: int
    host: str | None = None
    port: int | None = None
    tls: bool = False
    grpc: GrpcState | None = None
    started: float
    looks: int = 0
    reload_seen: int = 0
    ready: bool = False
    models: dict[str, ModelState] = {}


class RunFolder:
    """`<home>/run`."""

    def __init__(self, home: Path) -> None:
        self.path = home / "run"
        self._lock = self.path / "service.lock"
        self._pid = self.path / "service.pid"
        self.asked = self.path / "asked"
        self._reload = self.asked / "reload"
        self.workers = self.path / "workers"
        self.metrics = self.path / "metrics"
        self.board = self.path / "board"
        self._came_up = self.board / "came-up"
        self.commits = self.path / "commits"
        self._held: int | None = None

    def claim(self) -> None:
        """Take the home for this process until it ends; raise `AlreadyRunning` naming the holder."""
        self.prepare()
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
        if not _try_lock(handle):
            os.close(handle)
            raise HomeInUse(
                f"{self.path.parent} is in use by the service with pid {self.pid()}; "
                "stop it, or set OKAWARI_HOME to another folder"
            ) from None
        self._held = handle
        self._sweep()
        write_atomically(self._pid, f"{os.getpid()}\n".encode())

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.workers, self.metrics, self.asked, self.board):
            folder.mkdir(parents=True, exist_ok=True)

    def _sweep(self) -> None:
        for left in (*self.workers.iterdir(), *self.metrics.iterdir(), *self.board.iterdir()):
            left.unlink(missing_ok=True)
        self._reload.unlink(missing_ok=True)
        shutil.rmtree(self.commits, ignore_errors=True)

    def is_up(self) -> bool:
        """Whether a service holds this home now."""
        try:
            handle = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    def pid(self) -> int | None:
        """The pid that the last master wrote; meaningful only while `is_up`."""
        try:
            return int(self._pid.read_text())
        except (OSError, ValueError):
            return None

    def run_id(self) -> str:
        """A name of this run of the service, the same in all its workers: the master's pid and its start."""
        try:
            return f"{self.pid()}-{self._pid.stat().st_mtime_ns}"
        except OSError:
            return "0"

    def started(self) -> int:
        """When this run of the service began, in seconds since 1970; the same in all its workers."""
        try:
            return int(self._pid.stat().st_mtime)
        except OSError:
            return 0

    def ask_reload(self) -> int:
        """Ask every worker to look again now and clear its back-off; return the asking's number."""
        self.prepare()
        number = self.reload_asked() + 1
        write_atomically(self._reload, f"{number}\n".encode())
        return number

    def reload_asked(self) -> int:
        """The number of the newest request to reload; 0 before the first."""
        try:
            return int(self._reload.read_text())
        except (OSError, ValueError):
            return 0

    def note_up(self) -> None:
        """A worker has come up."""
        self._came_up.touch()

    def came_up(self) -> int:
        """Another number whenever a worker has come up since."""
        try:
            return self._came_up.stat().st_mtime_ns
        except OSError:
            return 0

    def write_worker(self, state: Mapping[str, Any]) -> None:
        """Publish this worker's state."""
        path = self.workers / f"{state['pid']}.json"
        temporary = path.with_suffix(".tmp")
        # Not synced: it only has to outlive a moment, and it is written at every change.
        temporary.write_text(json.dumps(state))
        temporary.replace(path)

    def remove_worker(self, pid: int) -> None:
        """Forget a worker that has ended."""
        (self.workers / f"{pid}.json").unlink(missing_ok=True)

    def worker_states(self) -> list[WorkerState]:
        """What each living worker wrote last; nothing while the service is down."""
        return list(self._read_workers()) if self.is_up() else []

    def _read_workers(self) -> Iterator[WorkerState]:
        for path in sorted(self.workers.glob("*.json")):
            try:
                state = WorkerState.model_validate_json(path.read_bytes())
            except (OSError, ValueError):
                continue
            if _is_alive(state.pid):
                yield state


def _try_lock(handle: int) -> bool:
    """Take the lock, bearing with those who only ask for a moment whether anybody holds it."""
    for _ in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _is_alive(pid: int) -> bool:
    """Whether a process with this pid exists, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
