"""The parts of one worker process, put together: the other half of the composition root."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import platform
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from types import FrameType
from typing import Any

from api import logs
from api.auth import Guard, is_exposed
from api.body import Store
from api.metrics import Metrics
from api.oip import parts as oip_parts
from api.oip.describing import Models
from api.oip.repository import Repository
from api.oip.serving import Inference
from api.oip.statistics import Statistics
from api.routes import RouteParts
from api.rpc.server import Listen, RpcServer
from api.rpc.services import RpcParts
from api.rpc.tls import TlsFiles
from hotswap import memory, status
from hotswap.admission import Admission
from hotswap.background import LoaderThread
from hotswap.commits import Alone
from hotswap.control import Control
from hotswap.dataplane import Answer, DataPlane, PredictRequest, TensorAnswer, TensorRequest
from hotswap.errors import Overloaded, ServingError
from hotswap.hooks import NoHooks
from hotswap.pool import Pool
from hotswap.reconciler import Reconciler
from hotswap.turning import ReconcilerThread
from models_import.store import ModelStore
from models_import.watcher import Watcher
from registry.commit_board import CommitBoard
from registry.desired_file import DesiredFile
from registry.run_folder import RunFolder
from registry.seats import Seats
from runners.loader import OnnxLoader
from serving.listening import Listening, spread
from settings import Settings

logger = logging.getLogger(f"{logs.ROOT}.service")

_GRACE = 10.0
#: Seconds in which a worker that ends still hears who has connected to it, before it hangs up.
_LAST_WORDS = 0.2
#: Bytes of bodies held at once that are worth a heap trim afterwards.
_FLOOD = 64_000_000


def version() -> str:
    """The version of the package that runs."""
    try:
        return package_version("okawari")
    except PackageNotFoundError:
        return "0.1.0"


class Worker:
    """Everything one process needs to answer; `start` and `stop` own every thread."""

    def __init__(self, settings: Settings, run: RunFolder, bodies: Store) -> None:
        run.prepare()
        logs.configure(settings.home / "logs", _worker_number(), settings.log_level)
        self._settings = settings
        self.seats = Seats(run.board, 2 * settings.workers)
        self.seat = self.seats.take()
        self._listening = Listening(self.seat, self.seats) if settings.workers > 1 else None
        self.metrics = Metrics(run.metrics, _info(), self.seat.index)
        store, desired = ModelStore(settings.models), DesiredFile(settings.home)
        loader = OnnxLoader(max_pixels=settings.max_pixels, thread_cap=settings.load_threads)
        self._background = LoaderThread()
        several = settings.workers > 1
        self.reconciler = Reconciler(
            store,
            desired,
            loader,
            self._background,
            observer=self.metrics,
            commits=CommitBoard(run.commits, self.seats, self.seat.index) if several else Alone(),
            patience=settings.swap_timeout,
        )
        self._turning = ReconcilerThread(self.reconciler, settings.poll_interval)
        self._admission = Admission(settings.max_concurrent_requests)
        self._pool = Pool(settings.thread_count)
        self.data_plane = DataPlane(self.reconciler, self._admission, self._pool, _Hooks(self.metrics))
        watched = [settings.models, settings.home / "state", run.asked]
        self._watcher = Watcher(watched, self.reconciler.wake)
        self._run = run
        self._bodies = bodies
        self._listener = listening_socket()
        self._report = Report(self.reconciler, run, self._listener)
        control = Control(self.reconciler, desired, store, run.ask_reload if several else _nobody)
        self.route_parts = RouteParts(
            reconciler=self.reconciler,
            control=control,
            guard=Guard(settings.admin_token, is_exposed(self._listener), settings.insecure),
            metrics=self.metrics,
            swap_timeout=settings.swap_timeout,
            oip=self._protocol(control),
        )
        self.draining = False
        self._rpc: RpcServer | None = None

    def _protocol(self, control: Control) -> oip_parts.Parts:
        """The Open Inference Protocol, for every wire."""
        return oip_parts.Parts(
            data_plane=self.data_plane,
            inference=Inference(self.data_plane),
            models=Models(self.data_plane, version()),
            repository=Repository(control, self.reconciler, self._settings.swap_timeout),
            statistics=Statistics(self.metrics.families, self.reconciler),
            refused=self.refused,
            check_room=self.check_room,
            not_ready=self.not_ready,
            max_body_bytes=self._settings.max_body_bytes,
        )

    async def start(self) -> None:
        """Start every thread; return when what is wanted serves, or after `start_timeout`."""
        self.seat.start()
        _allow_many_files()
        _end_with_parent()
        self._watch_for_the_end()
        if self._orphaned():
            signal.raise_signal(signal.SIGTERM)
        self.reconciler.on_step += [self._report.write, self._sample, self._return_memory]
        self._turning.start()
        self._watcher.start()
        await self.route_parts.control.changes.until(self._settled, self._settings.start_timeout)
        await self._open_rpc()
        # What was imported stays for good: collections after a swap need not walk through it.
        gc.collect()
        gc.freeze()
        if self._listening is not None:
            spread(self._listening, asyncio.get_running_loop())
        with suppress(OSError):  # told to the master, which can do without it
            self._run.note_up()
        logger.info("worker %d answers: %s", os.getpid(), self.not_ready() or "ready")

    async def _open_rpc(self) -> None:
        """Take calls over gRPC, unless that is switched off; raises `CannotListen`, `BadCertificate`."""
        listen = rpc_listen(self._settings, host_of(self._listener))
        if listen is not None:
            rpc = RpcServer(self._rpc_parts(), listen, heirs=self._has_heirs)
            await rpc.start()
            self._rpc = rpc

    def _rpc_parts(self) -> RpcParts:
        return RpcParts(
            oip=self.route_parts.oip,
            data_plane=self.data_plane,
            reconciler=self.reconciler,
            control=self.route_parts.control,
            guard=self.route_parts.guard,
            observer=self.metrics,
            bodies=self._bodies,
            max_body_bytes=self._settings.max_body_bytes,
            request_timeout=self._settings.request_timeout,
            refused=self.refused,
            check_room=self.check_room,
        )

    def _sample(self) -> None:
        self.metrics.sample(self.reconciler)

    def _return_memory(self) -> None:
        """After a flood of pictures, give its memory back; otherwise only the next swap would."""
        if self._bodies.take_peak() > _FLOOD and self._bodies.held < _FLOOD:
            self._background.submit(memory.release)

    def _orphaned(self) -> bool:
        """Whether the master died before this worker asked to end with it: nobody holds the home."""
        return self._listener is not None and not self._run.is_up()

    def _settled(self) -> bool:
        """Whether a look has ended and nothing more is about to serve by itself."""
        settling = (tag for tag, why in list(self.reconciler.backoff.failures.items()) if why.settling)
        waits = any(status.model(self.reconciler, tag.name).serving is None for tag in settling)
        return self.reconciler.steps > 0 and self.reconciler.idle and not waits

    async def stop(self) -> None:
        """End every thread. Work that outlives the grace is left to the end of the process."""
        self.seat.rest()  # it is left with the process: until then the reconciler may write there
        if self._rpc is not None:
            await self._rpc.stop()
        self._watcher.stop()
        await asyncio.to_thread(self._turning.stop, _GRACE)
        await asyncio.to_thread(self._pool.close, _GRACE)
        await asyncio.to_thread(self._background.close, _GRACE)
        self._report.remove()
        logs.flush()

    def not_ready(self) -> str | None:
        """Why the worker is not ready; None when every required model serves."""
        if status.ready(self.reconciler):
            return None
        required = self.reconciler.document.required
        missing = [
            name
            for name in required or ()
            if (slot := self.reconciler.slots.get(name)) is None or slot.current is None
        ]
        if required is None:
            return "no model serves yet: import one with `okawari import` or `bentoml models import`"
        return f"nothing serves yet for {', '.join(missing)}; GET /models tells why"

    def check_room(self) -> None:
        """Raise `Overloaded` when a request would be refused anyway."""
        if self._admission.full:
            raise Overloaded(f"all {self._admission.capacity} places are taken; try again shortly")

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float = 0.0) -> None:
        """A prediction was not made, told after `seconds`: count it, log it."""
        known = model if model is not None and status.known(self.reconciler, model) else None
        self.metrics.refused(known, error.code, seconds)
        logs.refused(request_id, known, error.code, error.message)

    def _watch_for_the_end(self) -> None:
        """From the signal on, answers carry `Connection: close`; then the server ends as before."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)

            def drain(received: int, frame: FrameType | None, then: Any = before) -> None:
                self.draining = True
                loop.call_soon_threadsafe(self._drain_rpc)
                if not callable(then):
                    return
                if self._listening is None:
                    then(received, frame)
                else:
                    loop.call_soon_threadsafe(_hand_over, self._listening, then, received)

            with suppress(ValueError):  # not in the main thread: somebody else's process, as in a test
                signal.signal(number, drain)

    def _has_heirs(self) -> bool:
        return self._listening is not None and bool(self._listening.heirs())

    def _drain_rpc(self) -> None:
        if self._rpc is not None:
            self._rpc.drain()


def rpc_listen(settings: Settings, host: str) -> Listen | None:
    """Where gRPC is to listen, None for nowhere."""
    if settings.grpc_port == 0:
        return None
    tls = None
    if settings.grpc_tls_cert is not None and settings.grpc_tls_key is not None:
        tls = TlsFiles(settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    return Listen(host, settings.grpc_port, settings.workers > 1, tls)


def host_of(listener: socket.socket | None) -> str:
    """Where HTTP listens; loopback where that is no address."""
    address = None if listener is None else listener.getsockname()
    return str(address[0]) if isinstance(address, tuple) else "127.0.0.1"


def _nobody() -> None:
    """There is no other worker to tell."""


def _hand_over(listening: Listening, then: Callable[[int, None], None], received: int) -> None:
    """Leave new connections to the other workers, and hear out those taken a moment ago."""
    listening.hand_over()
    asyncio.get_running_loop().call_later(_LAST_WORDS, then, received, None)


class _Hooks(NoHooks):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def after_predict(self, request: PredictRequest, answer: Answer) -> None:  # noqa: ARG002
        self._metrics.answered(answer)
        logs.answered(answer)

    def after_infer(self, request: TensorRequest, answer: TensorAnswer) -> None:  # noqa: ARG002
        self._metrics.answered(answer)
        logs.inferred(answer)


class Report:
    """Keeps this worker's file in the run folder true."""

    def __init__(self, reconciler: Reconciler, run: RunFolder, listener: socket.socket | None) -> None:
        self._reconciler = reconciler
        self._run = run
        self._fixed = {"pid": os.getpid(), "started": time.time(), **_address(listener)}
        self._reload_seen = self._reload_pending = run.reload_asked()
        self._written: dict[str, Any] = {}

    def write(self) -> None:
        """Called after every look: write what has changed, pass on who asked for another look."""
        self._reload_seen = self._reload_pending
        state = {**self._fixed, **self._state()}
        if state != self._written:
            with suppress(OSError):  # a full disk must not end the looking; it is written next time
                self._run.write_worker(state)
                self._written = state
        asked = self._run.reload_asked()
        if asked > self._reload_pending:
            self._reload_pending = asked
            self._reconciler.retry()

    def remove(self) -> None:
        """The worker has ended."""
        self._run.remove_worker(os.getpid())

    def _state(self) -> dict[str, Any]:
        return {
            "ready": status.ready(self._reconciler),
            "reload_seen": self._reload_seen,
            "models": {each.name: _model(each) for each in status.models(self._reconciler)},
        }


def _model(found: status.ModelStatus) -> dict[str, Any]:
    return {
        "target": found.target,
        "serving": found.serving,
        "generation": found.generation,
        "revision": found.revision,
        "generations": [
            {"version": each.version, "state": each.state, "digest": each.digest, "reason": each.reason}
            for each in found.versions
            if each.state != status.AVAILABLE
        ],
    }


def listening_socket() -> socket.socket | None:
    """The socket that this worker takes connections from, as its command line names it."""
    try:
        number = int(sys.argv[sys.argv.index("--fd") + 1])
        return socket.socket(fileno=os.dup(number))
    except (ValueError, IndexError, OSError):
        return None


def _address(listener: socket.socket | None) -> dict[str, Any]:
    if listener is None or not isinstance(listener.getsockname(), tuple):
        return {"host": None, "port": None}
    host, port = listener.getsockname()[:2]
    return {"host": host, "port": port}


def _worker_number() -> int:
    try:
        return int(sys.argv[sys.argv.index("--worker-id") + 1])
    except (ValueError, IndexError):
        return 1


def _info() -> dict[str, str]:
    names = ("bentoml", "onnxruntime")
    versions = {name: package_version(name) for name in names}
    return {"version": version(), "python": platform.python_version(), **versions}


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: connections and models each take some."""
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end_with_parent() -> None:
    """Drain and end when the master dies, even by SIGKILL: an orphan would hold the port (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
