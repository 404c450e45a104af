"""The detection server of one worker: opens records, picture store and outbox, and joins their parts."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from adapters.picture_stores import open_pictures
from adapters.pictures.picture_options import PictureOptions
from adapters.records import open_records
from api.access.quotas import DeviceQuota, Quotas
from api.detection_parts import BatchPlaces, DetectionParts
from api.detector import DetectionRules, Detector
from api.device_auth import DeviceAuth
from api.errors import DEVICES
from api.http import detect_routes
from api.http.middleware import RouteLimits
from api.http.spooled_form import remove_abandoned
from api.service_health import Dependency
from config_file import Config
from hotswap.dataplane import DataPlane
from hotswap.errors import BadRequest, ShuttingDown, StateUnavailable
from hotswap.events import Recorder
from hotswap.predictions import Options
from hotswap.status import StateView
from lineage.acceptance import Acceptance, Delivery
from lineage.chores import Chores
from lineage.commits import CommitResult, Committer
from lineage.device_tokens import DeviceTokens
from lineage.devices import environment_tokens
from lineage.outbox import Outbox
from lineage.picture_store import PictureStore
from lineage.rate_limit import Rate, RateLimit
from lineage.retention import RetentionRules
from lineage.storage import Storage
from lineage.storage_figures import StorageFigures
from lineage.storage_limit import DiskSpace
from lineage.system_metrics import MetricSampler
from runners import decode
from settings import Settings
from telemetry.metrics import available_bytes, resident_bytes
from telemetry.observers import Metrics
from telemetry.tracing import Tracing

if TYPE_CHECKING:
    from adapters.sql.database import Database
    from adapters.sql.sql_records import SqlRecords
    from adapters.sql.sql_retention import SqlRetention

#: The model that answers where none is configured and the store has it.
USUAL_MODEL = "grounding-dino-base"
_MEBIBYTE = 1_048_576
_FORMATS = {"jpeg": "JPEG", "png": "PNG"}
#: Batches of pictures that one worker keeps on disk at once.
_BATCHES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the detection server needs of its worker."""

    view: StateView
    data_plane: DataPlane
    recorder: Recorder
    check_room: Callable[[], None]
    not_ready: Callable[[], str | None]
    ending: Callable[[], bool]
    metrics: Metrics
    tracing: Tracing
    quotas: Quotas | None = None


class DetectionServer:
    """The parts of the routes for devices, opened when they are first needed, or when there is work left."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._config: Config = settings.detection
        self._host = host
        self._opening = threading.Lock()
        self._opened: _Opened | None = None
        self._stopped = False

    async def parts(self) -> DetectionParts:
        """The parts. Raises `RecordsUnavailable` or `PicturesUnavailable` where they cannot be opened."""
        opened = self._opened
        if opened is None:
            opened = await anyio.to_thread.run_sync(self._open)
        return opened.parts

    @property
    def problem(self) -> str | None:
        """What cannot be done now with accepted pictures, and why; None where all can."""
        opened = self._opened
        problems = {} if opened is None else opened.chores.problems
        return next((f"{task} waits: {reason}" for task, reason in problems.items()), None)

    @property
    def dependencies(self) -> dict[str, Dependency]:
        """Database and picture store, where they are used; to ask them opens them."""
        return {
            "database": Dependency(self._check_records, self._is_used),
            "pictures": Dependency(self._check_pictures, self._is_used),
        }

    def _check_records(self) -> None:
        self._open().records.uncommitted(1)

    def _check_pictures(self) -> None:
        self._open().pictures.check()

    def _is_used(self) -> bool:
        """Whether somebody set the detection server up, or has used it."""
        used = (self._settings.config is not None, self._settings.database is not None)
        return any(used) or self._opened is not None

    def start(self) -> None:
        """Go on with what an earlier process left; where there is nothing, wait for the first picture."""
        if self._is_used() or self._outbox.exists():
            threading.Thread(target=self._begin, name="okawari-detection", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """End the thread, and close the connections."""
        with self._opening:
            self._stopped = True
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.stop(seconds)

    @property
    def _spool(self) -> Path:
        return self._settings.home / "spool"

    @property
    def _outbox(self) -> Path:
        return self._settings.home / "outbox"

    def _begin(self) -> None:
        with suppress(StateUnavailable, ShuttingDown):  # the first request says so
            self._open()

    def _open(self) -> _Opened:
        with self._opening:
            if self._stopped:
                raise ShuttingDown("the service is ending; send it again")
            if self._opened is None:
                self._opened = self._built()
                self._opened.start()
            return self._opened

    def _built(self) -> _Opened:
        from adapters.sql.database import PoolSize
        from adapters.sql.sql_retention import SqlRetention

        settings, config = self._settings, self._config
        database, lakefs = config.database, config.lakefs
        pool = PoolSize(database.pool_size, database.max_overflow)
        records = open_records(settings.database_url, pool, echo=database.echo)
        self._host.tracing.trace_database(records.database.engine)
        retention = SqlRetention(records.database)
        pictures = open_pictures(
            settings.pictures_location,
            picture_options(settings),
            may_make=lambda: retention.use().pictures == 0,
        )
        outbox = Outbox(self._outbox)
        remove_abandoned(self._spool, 2 * config.batch_processing.batch_timeout_sec)
        storage = self._storage(retention, pictures, records)
        committer = Committer(
            records,
            pictures,
            holder=holder(settings),
            batch_size=1 if lakefs.commit_strategy == "immediate" else lakefs.batch_size,
            batch_timeout=lakefs.batch_timeout_sec,
        )
        acceptance = Acceptance(
            records, pictures, outbox, deferring=config.outbox.enabled, reserve=storage.limit.reserve
        )
        sampler = MetricSampler(records, self._sampled(storage, outbox), holder(settings))
        return _Opened(
            self._parts(records, acceptance, committer),
            records,
            pictures,
            storage,
            sampler,
            Chores(
                {
                    "the delivery of pictures": Delivery(records, pictures, outbox).run,
                    "the commit of pictures": lambda: self._note_commit(committer.step()),
                    "the look at the storage": lambda: self._show(storage, outbox),
                }
            ),
        )

    def _storage(self, retention: SqlRetention, pictures: PictureStore, records: SqlRecords) -> Storage:
        section, location = self._config.storage, self._settings.pictures_location
        return Storage(
            retention,
            pictures,
            records,
            RetentionRules.configured(
                section.retention_days, section.max_total_gb, section.warning_threshold_gb
            ),
            DiskSpace(self._settings.home, None if "://" in location else Path(location)),
            holder=holder(self._settings),
            schedule=section.cleanup_schedule if section.cleanup_enabled else None,
        )

    def _note_commit(self, result: CommitResult | None) -> None:
        if result is not None:
            self._host.metrics.committed(result.pictures)

    def _show(self, storage: Storage, outbox: Outbox) -> None:
        self._host.metrics.storage(figures(storage, outbox))

    def _sampled(self, storage: Storage, outbox: Outbox) -> dict[str, Callable[[], float | None]]:
        """What `system_metrics` keeps."""
        return {
            "storage_used_bytes": lambda: float(storage.limit.used_bytes),
            "outbox_pictures": lambda: float(outbox.length()),
            "system_memory_available_bytes": available_bytes,
            "process_resident_bytes": resident_bytes,
        }

    def _parts(self, records: SqlRecords, acceptance: Acceptance, committer: Committer) -> DetectionParts:
        from adapters.sql.sql_devices import SqlDevices

        config, host = self._config, self._host
        tokens = DeviceTokens(static_tokens(config), SqlDevices(records.database))
        return DetectionParts(
            auth=DeviceAuth(tokens, config.auth.token_header, config.auth.enabled),
            rates=self._rates(),
            detector=Detector(
                host.data_plane,
                host.recorder,
                acceptance,
                rules(config),
                measure=decode.measure,
                model=self._model,
                stored=host.metrics.stored,
            ),
            batch=committer.batch,
            commit=lambda image_ids: self._note_commit(committer.commit_now(image_ids)),
            check_room=host.check_room,
            batch_places=BatchPlaces(_BATCHES),
            ending=host.ending,
            not_ready=self._not_ready,
            metrics=host.metrics.exposition,
            spool=self._spool,
            max_picture_bytes=picture_bytes(config),
            max_batch=config.batch_processing.max_batch_size,
            batch_timeout=config.batch_processing.batch_timeout_sec,
            batches=config.batch_processing.enabled,
        )

    def _rates(self) -> RateLimit:
        """The rate of each device, and its quota where there is one."""
        from adapters.sql.sql_rates import SqlRateLimit

        settings, quotas = self._settings, self._host.quotas
        rates = SqlRateLimit(self._rates_database(), Rate(settings.device_rate, settings.device_burst))
        return rates if quotas is None or quotas.device is None else DeviceQuota(rates, quotas)

    def _rates_database(self) -> Database:
        """A connection whose commits wait for no disk: after a loss of power every bucket may be full."""
        from adapters.sql.database import RECORDS, Database

        return Database(self._settings.database_url, RECORDS, durable=False)

    def _not_ready(self) -> str | None:
        """Why no picture can be answered; None when all can."""
        if (reason := self._host.not_ready()) is not None:
            return reason
        view = self._host.view
        model = self._model() or view.default
        if model is None:
            return "several models and no default: set model.name"
        slot = view.slot(model)
        if slot is None or slot.current is None:
            return f"no version of {model} serves: GET /models/{model} says why"
        return None if self._config.outbox.enabled else self.problem

    def _model(self) -> str | None:
        """The model that answers: the configured one, the usual one where it is known, else the default."""
        configured = self._config.model.name
        if configured is not None:
            return configured
        return USUAL_MODEL if self._host.view.known(USUAL_MODEL) else None


@dataclass(frozen=True, slots=True)
class _Opened:
    parts: DetectionParts
    records: SqlRecords
    pictures: PictureStore
    storage: Storage
    sampler: MetricSampler
    chores: Chores

    def start(self) -> None:
        """Start every thread."""
        self.chores.start()
        self.storage.start()
        self.sampler.start()

    def stop(self, seconds: float) -> None:
        """End every thread, then the connections."""
        self.chores.stop(seconds)
        self.storage.stop(seconds)
        self.sampler.stop(seconds)
        self.pictures.close()
        self.records.close()


def holder(settings: Settings) -> str:
    """The name of this process among all that share database and picture store."""
    return f"{socket.gethostname()}:{settings.home}"[:200] + f"#{os.getpid()}"


def figures(storage: Storage, outbox: Outbox) -> StorageFigures:
    """What is stored, and what waits to be."""
    oldest = outbox.oldest()
    return StorageFigures(
        used=storage.limit.used_bytes,
        limit=storage.rules.most_bytes,
        is_over_warning=storage.limit.is_over_warning,
        waiting=outbox.length(),
        oldest_seconds=0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds(),
    )


def static_tokens(config: Config) -> dict[str, str]:
    """The tokens of the environment and of the configuration file, by device."""
    return {**environment_tokens(os.environ), **config.auth.tokens}


def check_tokens(config: Config) -> None:
    """Raise `StateUnavailable` where the static tokens of devices cannot be used."""
    try:
        DeviceTokens(static_tokens(config), None)
    except (ValueError, BadRequest) as error:
        raise StateUnavailable(f"tokens of devices: {error}") from None


def picture_bytes(config: Config) -> int:
    """The most bytes of one picture."""
    return int(config.validation.max_image_size_mb * _MEBIBYTE)


def rules(config: Config) -> DetectionRules:
    """What is accepted and what counts as found."""
    model, validation = config.model, config.validation
    return DetectionRules(
        max_bytes=picture_bytes(config),
        formats=tuple(_FORMATS[name] for name in validation.allowed_formats),
        min_width=validation.min_width,
        min_height=validation.min_height,
        usual=Options(
            threshold=model.box_threshold,
            text_prompt=model.text_prompt,
            text_threshold=model.text_threshold,
            nms_threshold=model.nms_threshold,
        ),
        max_detections=model.max_detections,
        min_box_area=model.min_box_area,
    )


def route_limits(config: Config) -> dict[str, RouteLimits]:
    """Limits and statuses of the routes for devices, by path."""
    batch = config.batch_processing
    limits = detect_routes.limits(picture_bytes(config), batch.max_batch_size, batch.batch_timeout_sec)
    return {path: RouteLimits(size, seconds, DEVICES) for path, (size, seconds) in limits.items()}


def picture_options(settings: Settings) -> PictureOptions:
    """How the object store is reached: lakeFS by the configuration file, S3 by its settings."""
    lakefs = settings.detection.lakefs
    if lakefs.endpoint is not None:
        return PictureOptions(
            lakefs.endpoint,
            lakefs.access_key or "",
            lakefs.secret_key or "",
            allow_http=lakefs.endpoint.startswith("http://"),
        )
    access_key, secret_key = settings.minio_access_key or "", settings.minio_secret_key or ""
    if settings.minio_endpoint is None:
        return PictureOptions(access_key=access_key, secret_key=secret_key)
    scheme = "https" if settings.minio_secure else "http"
    return PictureOptions(
        f"{scheme}://{settings.minio_endpoint}",
        access_key,
        secret_key,
        allow_http=not settings.minio_secure,
    )
