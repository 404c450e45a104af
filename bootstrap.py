"""The worker: builds the parts of one worker process, starts and stops them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import signal
import socket
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from adapters.registries import change_hints, open_audit, open_registry, production
from api.access.guard import AccessGuard
from api.access.quotas import Quotas
from api.auth import AdminAuth, is_exposed
from api.budget import ByteBudget
from api.grpc.server import Listen, RpcServer
from api.grpc.tls import TlsFiles
from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from api.parts import ServiceParts
from api.service_health import Dependency, HealthSources, ServiceHealth
from detection import DetectionServer, Host, check_tokens
from hotswap import lifecycle
from hotswap.admission import Admission
from hotswap.control import Control
from hotswap.coordination import LocalCoordinator
from hotswap.dataplane import DataPlane
from hotswap.desired import seed
from hotswap.errors import Overloaded, StateUnavailable
from hotswap.events import Observer, Observers, Recorder
from hotswap.reconciler import Reconciler
from hotswap.runner import CPU
from hotswap.threads import InferencePool, LoaderThreads, ReconcilerThread
from identity import bearer_tokens, open_quotas
from manifest.tags import ModelTag
from model_memory import ModelMemory, version_gate, version_guard
from models_import.candidates import Candidate, Wanted
from models_import.errors import ImportRefused, ImportUnavailable
from models_import.file_kinds import is_onnx
from models_import.importer import Importer
from models_import.store import ModelStore
from models_import.watcher import Watcher
from registry.audit_trail import AuditedDesired
from registry.comparison_pages import ComparisonPages
from registry.errors import InvalidEntry, RegistryUnavailable
from registry.file_store import DesiredFile
from registry.model_list_file import ModelListFile
from registry.model_registry import ModelRegistry
from registry.promotion import Promotions, finish_promotions
from registry.registered_models import RegisteredModels, RegistryUpkeep, StoreRegistrar
from registry.registration import Registrations
from registry.registry_audit import RegistryAudit
from registry.switches import SwitchRecorder
from registry.verdict_files import ServedVersions, VerdictFiles
from runners.crops import Cropper
from runners.devices import can_use_gpus
from runners.families.index import OUTSIDE
from settings import SERVE_ALL, Settings
from team_service import object_reader, open_publisher, team_of
from telemetry import logs
from telemetry.machine_usage import disk_percent
from telemetry.metrics_port import MetricsPort
from telemetry.model_events import ModelEvents
from telemetry.observers import InferenceObserver, Metrics
from telemetry.span_observers import InferenceSpans, ModelSpans
from telemetry.tracing import Tracing
from workers import process
from workers.connections import OpenConnections
from workers.coordinator import SharedCoordinator
from workers.listener import Listener, spread
from workers.membership import WorkerTable
from workers.run_folder import RunFolder
from workers.worker_status import WorkerStatus

logger = logging.getLogger(f"{logs.ROOT}.service")

_GRACE = 10.0
#: Bytes of bodies held at once that are worth a heap trim afterwards.
_FLOOD = 64_000_000


def version() -> str:
    """The version of the package that runs."""
    try:
        return package_version("okawari")
    except PackageNotFoundError:
        return "0.1.0"


def begin(settings: Settings) -> None:
    """What the master does before any worker: the key, the settings of models to serve, cut-off promotions.

    Families of other packages that cannot be used are logged.

    Raises `BadKey`, `BadServe`, `StateUnavailable`, `OSError`.
    """
    for unusable in OUTSIDE.unusable:
        logger.warning("%s", unusable)
    check_tokens(settings.detection)
    where = settings.registry_location
    place = open_audit(where, settings.home)
    place.key.prepare()
    # Closed before there are workers, which must not inherit connections.
    with closing(place.trail()) as trail:
        desired = AuditedDesired(DesiredFile(settings.home), trail.add, partial(production, where))
        desired.edit(seed(*_served(settings)))
        try:
            finish_promotions(desired, partial(open_registry, where))
        except RegistryUnavailable as error:
            logger.warning("a promotion that was cut off waits for the next start: %s", error.message)


def _served(settings: Settings) -> tuple[str, str | None]:
    """What to serve, and the default model: of a team its own model, unless the settings say otherwise."""
    team = team_of(settings)
    if team is None or settings.serve != SERVE_ALL:
        return settings.serve, settings.default_model
    return f"{team.model}:{team.model_tag}", settings.default_model or team.model


class Worker:
    """Everything one process needs to answer; `start` and `stop` own every thread."""

    def __init__(
        self,
        settings: Settings,
        run: RunFolder,
        bodies: ByteBudget,
        connections: OpenConnections,
        model_list: ModelListFile | None = None,
    ) -> None:
        """`model_list` has what the master read, which holds where the file cannot be used any more."""
        run.prepare()
        text = settings.detection.observability.logging.format == "text"
        logs.configure(settings.home / "logs", process.worker_number(), settings.log_level, text=text)
        self._settings = settings
        self._tracing = tracing_of(settings)
        self.seats = WorkerTable(run.board, 2 * settings.workers)
        self.seat = self.seats.take()
        self._connections = connections
        self._listening = Listener(self.seat, self.seats, connections)
        self.metrics = Metrics(
            run.metrics,
            _info(),
            self.seat.index,
            self.seats.is_held,
            gpu_enabled=settings.device != CPU and can_use_gpus(),
        )
        place = open_audit(settings.registry_location, settings.home)
        # Several services may record in one database.
        run_name = f"{_service_name(settings)}/{run.run_id()}" if place.is_remote else run.run_id()
        self._audit = place.trail(run_name, at_once=not place.is_remote)
        store = ModelStore(settings.models)
        self._memory = ModelMemory(
            settings, run, self.seats, self.seat.index, metrics=self.metrics, model_list=model_list
        )
        self._background = LoaderThreads()
        registry = open_registry(settings.registry_location)
        models = RegisteredModels(store, registry)
        desired = AuditedDesired(DesiredFile(settings.home), self._audit.add, models.production)
        switches = SwitchRecorder(registry, _service_name(settings), run.started())
        several = settings.workers > 1
        self._verdicts = VerdictFiles(settings.home)
        self._guarding = version_guard(settings, lambda: self._pool.queued > 0)
        self.reconciler = Reconciler(
            models,
            desired,
            self._memory.loader,
            self._background,
            table=self._memory.service.table,
            memory=self._memory.service.rules,
            observer=Observers(
                self.metrics,
                self._audit,
                switches,
                ModelSpans(),
                ServedVersions(self._verdicts),
                *self._events(),
            ),
            gate=version_gate(settings.home, self._verdicts, desired, settings.require_signature),
            guard=self._guarding,
            coordinator=SharedCoordinator(run.commits, self.seats, self.seat.index)
            if several
            else LocalCoordinator(),
            patience=settings.swap_timeout,
            profiles=self._memory.model_list,
        )
        view, schedule = self.reconciler.view, self.reconciler.schedule
        self._turning = ReconcilerThread(self.reconciler, settings.poll_interval)
        self._admission = Admission(settings.max_concurrent_requests)
        self._pool = InferencePool(settings.thread_count)
        data_plane = DataPlane(
            view,
            schedule,
            self._admission,
            self._pool,
            Cropper(settings.max_pixels),
            batch_size=settings.batch_size,
            observer=self.metrics,
        )
        watched = [settings.models, settings.home / "state", run.asked]
        self._watcher = Watcher(watched, schedule.wake)
        self._hints = change_hints(settings.registry_location, schedule.wake)
        self._run = run
        self._bodies = bodies
        self._listener = process.listening_socket()
        self._report = WorkerStatus(view, schedule, run, self._listener)
        self._report.add(tls=process.speaks_tls())
        self._models = models
        self._upkeep = RegistryUpkeep(
            models,
            self._audit,
            switches,
            StoreRegistrar(registry, view.infos),
            RegistryAudit(registry, self._audit, place.registry_mark),
        )
        control = Control(view, schedule, desired, models, run.ask_reload if several else _no_others)
        promotions = Promotions(registry, control, view, models, desired)
        recorder = Recorder(Observers(InferenceObserver(self.metrics, view), InferenceSpans()))
        self.draining = False
        quotas = open_quotas(settings, run)
        self._detection = DetectionServer(settings, self._host(data_plane, recorder, quotas))
        self.parts = ServiceParts(
            view=view,
            schedule=schedule,
            control=control,
            registry=registry,
            promotions=promotions,
            audit=place.store,
            verdicts=self._verdicts,
            comparisons=ComparisonPages(settings.home),
            registrations=Registrations(
                registry,
                promotions.look,
                base=settings.store_home,
                roots=settings.import_roots or (settings.models,),
                bring=partial(_import, self._memory.importer()),
            ),
            data_plane=data_plane,
            recorder=recorder,
            metrics=self.metrics,
            auth=self._guard(quotas),
            health=self._health(registry),
            bodies=bodies,
            inference=Inference(data_plane),
            detection=self._detection.parts,
            models=Models(data_plane, version()),
            repository=Repository(control, view, settings.swap_timeout),
            statistics=Statistics(self.metrics.families, view),
            objects=object_reader(settings),
            team=team_of(settings),
            check_room=self._check_room,
            not_ready=self.not_ready,
            max_body_bytes=settings.max_body_bytes,
            max_stream_message_bytes=settings.max_stream_message_bytes,
            request_timeout=settings.request_timeout,
            swap_timeout=settings.swap_timeout,
        )
        self._metrics_port = MetricsPort(
            process.host_of(self._listener), metrics_port(settings), self.metrics.exposition
        )
        self._rpc: RpcServer | None = None

    def _guard(self, quotas: Quotas | None) -> AccessGuard:
        """Who decides whom to let in."""
        settings = self._settings
        return AccessGuard(
            AdminAuth(settings.admin_token, is_exposed(self._listener), settings.insecure),
            tokens=bearer_tokens(settings),
            required=settings.auth_required_for_predict,
            quotas=quotas,
            device_header=settings.detection.auth.token_header,
        )

    def _events(self) -> list[Observer]:
        """Who sends events of models to others, where there are brokers for them."""
        self._publisher = open_publisher(self._settings, self.metrics)
        if self._publisher is None:
            return []
        return [ModelEvents(self._publisher.publish, speaks=self.seat.index == 0)]

    def _host(self, data_plane: DataPlane, recorder: Recorder, quotas: Quotas | None) -> Host:
        """What the detection server needs of this worker."""
        return Host(
            view=self.reconciler.view,
            data_plane=data_plane,
            recorder=recorder,
            check_room=self._check_room,
            not_ready=self.not_ready,
            ending=lambda: self.draining,
            metrics=self.metrics,
            tracing=self._tracing,
            quotas=quotas,
        )

    def _health(self, registry: ModelRegistry) -> ServiceHealth:
        """What `GET /health` asks. The registry is asked for a model that need not be there."""
        asked = Dependency(lambda: registry.list("okawari"))
        return ServiceHealth(
            HealthSources(
                view=self.reconciler.view,
                version=version(),
                started=self._run.started,
                not_ready=self.not_ready,
                degraded=self.degraded,
                disk_percent=partial(disk_percent, self._settings.home),
                dependencies={"registry": asked, **self._detection.dependencies},
                memory_budget=lambda: self._memory.service.budget,
            )
        )

    async def start(self) -> None:
        """Start every thread; return when what is wanted serves, or after `start_timeout`."""
        self.seat.start()
        self._tracing.start()
        process.allow_many_files()
        process.end_with_parent()
        process.watch_for_the_end(self._listening, self._end_begins, self._drain_rpc)
        if self._orphaned():
            signal.raise_signal(signal.SIGTERM)
        self._memory.service.start(self.parts.schedule.nudge)
        # Before those are woken who wait for a look, such as a reload.
        self.reconciler.on_step.insert(0, self._memory.model_list.refresh)
        self.reconciler.on_step += [
            self._report.write,
            self._sample,
            self._return_memory,
            self._tell_registry,
        ]
        self._turning.start()
        self._watcher.start()
        self._memory.compiling.start()
        if self._hints is not None:
            self._hints.start()
        await self.parts.view.wait_until(self.parts.view.settled, self._settings.start_timeout)
        room = process.room_for_connections()
        await self._open_rpc(room)
        self._metrics_port.start()
        self._connections.limit = self._share_of_http(room)
        self._connections.start(self.metrics)
        # What was imported stays for good: collections after a swap need not walk through it.
        gc.collect()
        gc.freeze()
        spread(self._listening, asyncio.get_running_loop())
        with suppress(OSError):  # a note for the master, which can do without it
            self._run.note_up()
        self._detection.start()
        logger.info("worker %d answers: %s", os.getpid(), self.not_ready() or "ready")

    def _share_of_http(self, room: int | None) -> int | None:
        return room if room is None or self._rpc is None else room - _share_of_rpc(room)

    async def _open_rpc(self, room: int | None) -> None:
        """Take calls over gRPC, unless that is switched off; raises `CannotListen`, `BadCertificate`.

        Its connections get a part of the `room` for all.
        """
        listen = rpc_listen(self._settings, process.host_of(self._listener))
        if listen is not None:
            listen = replace(
                listen,
                most=None if room is None else _share_of_rpc(room),
                patience=self._settings.header_timeout,
            )
            rpc = RpcServer(self.parts, listen)
            await rpc.start()
            self._rpc = rpc
            self._report.add(grpc=listen.described())
            self.reconciler.wake()
            logger.info("worker %d takes calls over gRPC on %s", os.getpid(), listen.address)

    def _sample(self) -> None:
        self._memory.service.sample(self.reconciler.view)
        self.metrics.sample(self.reconciler.view)
        self.metrics.memory_budget.set(self._memory.service.budget)
        self.metrics.registry_unavailable.set(self._models.problem is not None)

    def _tell_registry(self) -> None:
        """Bring what the registry lacks into it, in another thread: a database may be slow."""
        if self._upkeep.is_due:
            self._background.submit(self._upkeep.write)

    def _return_memory(self) -> None:
        """After a flood of pictures, give its memory back; otherwise only the next swap would."""
        if self._bodies.take_peak() > _FLOOD and self._bodies.held < _FLOOD:
            self._background.submit(lifecycle.release_memory)

    def _orphaned(self) -> bool:
        """Whether the master died before this worker asked to end with it: the home is not held."""
        return self._listener is not None and not self._run.is_up()

    async def stop(self) -> None:
        """End every thread. Work that outlives the grace is left to the end of the process."""
        self._connections.stop()
        await self._metrics_port.stop()
        self.seat.rest()  # it is left with the process: until then the reconciler may write there
        if self._rpc is not None:
            await self._rpc.stop()
        self._watcher.stop()
        await asyncio.to_thread(self._memory.compiling.stop, _GRACE)
        if self._hints is not None:
            await asyncio.to_thread(self._hints.stop, _GRACE)
        await asyncio.to_thread(self._turning.stop, _GRACE)
        await asyncio.to_thread(self._memory.service.stop)
        await asyncio.to_thread(self._detection.stop, _GRACE)
        await asyncio.to_thread(self._pool.close, _GRACE)
        await asyncio.to_thread(self._guarding.close)
        await asyncio.to_thread(self._background.close, _GRACE)
        await asyncio.to_thread(self._tracing.stop)
        await asyncio.to_thread(self._audit.write)
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.stop, _GRACE)
        self._report.remove()
        logs.flush()

    def not_ready(self) -> str | None:
        """Why the worker is not ready; None when every required model serves."""
        view = self.reconciler.view
        if view.ready():
            return None
        required = view.required
        if required is None:
            if left_out := next(filter(None, (view.residence(name).reason for name in view.names())), None):
                return f"no model serves: {left_out}"
            return "no model serves yet: import one with `okawari import` or `bentoml models import`"
        missing = {name: view.reason(name) for name in view.not_serving(required)}
        reasons = [f"{name} ({reason})" if reason else name for name, reason in missing.items()]
        return f"nothing serves yet for {', '.join(reasons)}; GET /models shows why"

    def degraded(self) -> str | None:
        """What does not work, though models answer; None where all does."""
        problem = self._models.problem
        if problem:
            return f"the registry's last content holds: {problem}"
        return self._memory.model_list.problem or self._detection.problem

    def _check_room(self) -> None:
        """Raise `Overloaded` when a request would be refused anyway."""
        if self._admission.full:
            raise Overloaded(f"all {self._admission.capacity} places are taken; try again shortly")

    def _end_begins(self) -> None:
        """From now on answers carry `Connection: close`."""
        self.draining = True

    def _drain_rpc(self) -> None:
        if self._rpc is not None:
            self._rpc.drain()


def metrics_port(settings: Settings) -> int:
    """The port of the metrics, 0 for none: only a setting or a configuration file gives them one."""
    if settings.metrics_port is not None:
        return settings.metrics_port
    metrics = settings.detection.observability.metrics
    return metrics.port if settings.config is not None and metrics.enabled else 0


def tracing_of(settings: Settings) -> Tracing:
    """The traces of this process, as settings and the SDK's variables say."""
    return Tracing(
        enabled=settings.tracing,
        endpoint=settings.tracing_endpoint,
        resource={
            "service.version": version(),
            "service.instance.id": f"{_service_name(settings)}#{os.getpid()}",
        },
    )


def rpc_listen(settings: Settings, host: str) -> Listen | None:
    """Where gRPC is to listen, None for nowhere."""
    if settings.grpc_port == 0:
        return None
    tls = None
    if settings.grpc_tls_cert is not None and settings.grpc_tls_key is not None:
        tls = TlsFiles(settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    return Listen(host, settings.grpc_port, settings.workers > 1, tls)


def _share_of_rpc(room: int) -> int:
    """Of all connections that there is room for: its clients open few, and close none for others."""
    return room // 4


def _import(importer: Importer, path: Path, tag: ModelTag) -> None:
    """Import the files at a path; of an .onnx file, the folder that it lies in."""
    folder = path.parent if path.is_file() and is_onnx(path.name) else path
    try:
        importer.run(Candidate(folder, Wanted(tag.name, tag.version), named=True))
    except ImportUnavailable as error:
        raise StateUnavailable(f"nothing was imported: {error}") from None
    except ImportRefused as refused:
        raise InvalidEntry(f"path: {refused}") from None


def _service_name(settings: Settings) -> str:
    """The name of this service in a registry that several share."""
    return f"{socket.gethostname()}:{settings.home}"[:100]


def _no_others() -> None:
    """Do nothing: there is no other worker."""


def _info() -> dict[str, str]:
    names = ("bentoml", "onnxruntime")
    versions = {name: package_version(name) for name in names}
    return {"version": version(), "python": platform.python_version(), **versions}
