"""The real service in processes of its own: started, asked, ended, and never left behind."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.e2e.asking import Asking
from tests.e2e.sizes import FULL_SIZE
from tests.e2e.waiting import until
from tests.support.launcher import Launched, launcher
from workers.run_folder import RunFolder, WorkerState

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

_OURS = ("OKAWARI_", "BENTOML_", "PROMETHEUS_")
#: PYTHONDONTWRITEBYTECODE: a start that may not keep what it has compiled takes seconds longer; the last is
#: for the processes of the tests.
_PLAIN = ("PORT", "WORKERS", "GRPC_PORT", "PYTHONDONTWRITEBYTECODE", "GRPC_ENABLE_FORK_SUPPORT")
#: BentoML's process manager lets go of its two ports before it takes them; another service may be faster.
_LOST_PORT = "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1"
#: How many workers a service has whose test does not say. TEST_WORKERS runs the whole suite with several.
_WORKERS = os.environ.get("TEST_WORKERS") or "1"
#: From a place of its own in each run, so that two runs on one machine meet rarely; none comes twice soon.
_PORTS = (20_000 + port % 12_000 for port in itertools.count(random.randrange(12_000)))


def environment(store: Path, home: Path, **changes: str) -> dict[str, str]:
    """This process's environment without any setting of the service, and with the given ones."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_OURS) and name not in _PLAIN
    }
    ours = {"BENTOML_HOME": str(store), "OKAWARI_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    ours["GRPC_PORT"] = "0"  # whoever wants one chooses it: services of other tests run beside
    ours["OKAWARI_COMPILED_LIMIT"] = "0"  # whoever wants them sets it: compiles take time from other tests
    return kept | ours | changes


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, and that the system gives to nobody who asks for any.

    Services on port 0, clients and other tests are given ports from 32768 on: one of those could be lost
    between this choice and its use.
    """
    for port in itertools.islice(_PORTS, 1000):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial, suppress(OSError):
            trial.bind((host, port))
            return port
    raise OSError(f"no port of {host} can be had")


class Service(Asking):
    """`bentoml serve service:Okawari` on a free port.

    `through` is a program that starts it, `serve` what is served: the checkout, or a Bento's folder.
    """

    def __init__(
        self,
        home: Path,
        store: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        through: Sequence[str] = (),
        serve: str = "service:Okawari",
        **settings: str,
    ) -> None:
        self.home = home
        self.store = store or home
        self.host = host
        self.port = port
        self.run = RunFolder(home)
        self.log = home.parent / f"{home.name}-{len(list(home.parent.glob(f'{home.name}-*.log')))}.log"
        self._settings = {"WORKERS": _WORKERS, "GRPC_PORT": str(free_port()), **settings}
        self.grpc_port = int(self._settings["GRPC_PORT"])
        self.count = int(self._settings["WORKERS"])
        self._through = through
        self._serve = serve
        self._master: subprocess.Popen[bytes] | Launched | None = None
        self._seen: dict[int, float] = {}

    # --- life ------------------------------------------------------------------------------------

    def launch(self) -> Service:
        """Start the processes and wait for nothing."""
        self.home.mkdir(parents=True, exist_ok=True)
        bentoml = BIN / "bentoml"
        arguments = ["serve", self._serve, "--host", self.host, "--port", str(self.port)]
        env = environment(self.store, self.home, **self._settings)
        if not self._through and not FULL_SIZE:
            self._master = launcher().launch(bentoml, arguments, env, self.log)
            return self
        command = [*self._through, str(bentoml), *arguments]
        with self.log.open("wb") as log:
            self._master = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def start(self) -> Service:
        """Start and wait until /livez answers, from every worker."""
        self.launch()
        until(self._is_up, f"{self.home} answers")
        return self

    def ready(self) -> Service:
        """Start and wait until it is ready."""
        self.start()
        until(lambda: self.get("/readyz").status_code == 200, f"{self.home} is ready")
        return self

    def _is_up(self) -> bool:
        if self.master.poll() is not None:
            if any(_LOST_PORT in line for line in self.lines()):
                self.launch()
                return False
            raise AssertionError(f"the service ended with {self.master.returncode}:\n{self.tail()}")
        states = self.workers()
        if len(states) < self.count:
            return False
        self.port = states[0].port or 0
        with suppress(httpx.TransportError):
            return self.get("/livez").status_code == 200
        return False

    @property
    def master(self) -> subprocess.Popen[bytes] | Launched:
        """The process that was started."""
        if self._master is None:
            raise AssertionError("the service was not started")
        return self._master

    @property
    def pid(self) -> int:
        """The master's pid, as the run folder tells operators."""
        return int((self.home / "run" / "service.pid").read_text())

    def workers(self) -> list[WorkerState]:
        """What every living worker says of itself."""
        states = self.run.worker_states()
        for state in states:
            with suppress(psutil.NoSuchProcess):
                self._seen[state.pid] = psutil.Process(state.pid).create_time()
        return states

    def children(self) -> list[int]:
        """The pids of the master's children, workers that do not answer yet included."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.master.pid).children(recursive=True):
                self._seen[child.pid] = child.create_time()
        return list(self._seen)

    def worker(self) -> int:
        """The pid of the only worker."""
        (state,) = self.workers()
        return state.pid

    def pids(self) -> set[int]:
        """The pids of all living workers."""
        return {state.pid for state in self.workers()}

    def resident(self) -> int:
        """Bytes of memory that all workers hold."""
        return sum(int(psutil.Process(pid).memory_info().rss) for pid in self.pids())

    def signal(self, number: int) -> None:
        """Send a signal to the master."""
        os.kill(self.master.pid, number)

    def stop(self) -> int:
        """End by SIGTERM; the exit code."""
        if self.master.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of the master; its exit code."""
        until(lambda: self.master.poll() is not None, f"the end of {self.home}")
        return self.master.wait()

    def gone(self) -> bool:
        """Whether every worker ever seen has ended."""
        return not any(self._is_same(pid, began) for pid, began in self._seen.items())

    @staticmethod
    def _is_same(pid: int, began: float) -> bool:
        try:
            process = psutil.Process(pid)
            return process.create_time() == began and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def destroy(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.hang_up()
        if self._master is None:
            return
        with suppress(OSError):
            self.workers()
        self.children()
        with suppress(ProcessLookupError):
            os.killpg(self._master.pid, signal.SIGKILL)
        self._master.wait()
        for pid, began in self._seen.items():
            if self._is_same(pid, began):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def tail(self, lines: int = 30) -> str:
        """The end of what it said, without the line that every inference writes."""
        if not self.log.exists():
            return "(no log)"
        told = [line for line in self.lines() if '"logger":"okawari.inference"' not in line]
        return "\n".join(told[-lines:])

    def lines(self) -> list[str]:
        """What it said, line by line."""
        return self.log.read_text(errors="replace").splitlines()
