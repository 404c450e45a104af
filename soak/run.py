"""One long run, from an empty home to its record."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from soak.disturbances import Disturbances, DisturbanceSchedule
from soak.models import DETECTOR, EXCHANGED, GUEST_SIZE, GUESTS, Versions
from soak.report import Piece
from soak.samples import Sample, sample
from soak.service import SoakedService, running
from soak.traffic import Traffic

_FIRST = "v0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOptions:
    """What a run is like. `seconds` is its length, `rate` requests a second."""

    seconds: float
    workers: int = 2
    rate: float = 20.0
    sample_seconds: float = 10.0
    schedule: DisturbanceSchedule = field(default_factory=DisturbanceSchedule)
    environment: Mapping[str, str] = field(default_factory=dict)


#: Called at each sample: the share of the run that is over, and the sample.
ShowSample = Callable[[float, Sample], None]


def soak(
    room: Path, options: SoakOptions, version: str, show: ShowSample = lambda _share, _sample: None
) -> Piece:
    """Run a service in an empty folder for so long; returns what became of it.

    Ctrl-C ends it early, with what is done. Raises `RuntimeError` when the service does not start, and
    `CalledProcessError` when the first versions cannot be imported.
    """
    home = room / "home"
    home.mkdir(parents=True)
    device = secrets.token_hex(16)
    environment = {
        "BENTOML_HOME": str(home),
        "OKAWARI_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "WORKERS": str(options.workers),
        "GRPC_PORT": "0",
        "OKAWARI_DEFAULT_MODEL": DETECTOR,
        "OKAWARI_DEVICE_RATE": "10000",
        "OKAWARI_DEVICE_BURST": "100000",
        "DEVICE_001_TOKEN": device,
        **options.environment,
    }
    versions = Versions(room, environment)
    versions.add_all((*EXCHANGED, *GUESTS), _FIRST)
    if "OKAWARI_MEMORY_BUDGET" not in {**os.environ, **environment}:
        with running(home, environment) as service:
            environment["OKAWARI_MEMORY_BUDGET"] = str(_budget(service))
    with running(home, environment) as service:
        return asyncio.run(_soak(service, versions, options, version, device, show=show))


def _budget(service: SoakedService) -> int:
    """Bytes in which the models that are exchanged fit with all but one of the others; now all are held."""
    workers = int(sample(0.0, service.workers, 0, ()).proportional_mb * 1e6)
    return workers - max(memory for _, memory in service.model_memory()) + GUEST_SIZE


async def _soak(
    service: SoakedService,
    versions: Versions,
    options: SoakOptions,
    version: str,
    device: str,
    *,
    show: ShowSample,
) -> Piece:
    started, began = datetime.now(UTC), time.monotonic()
    present = {model: [_FIRST] for model in EXCHANGED}
    disturbances = Disturbances(service, versions, options.schedule, began, present)
    traffic = Traffic(service.url, options.rate, disturbances.expects_loss, device=device)
    sending, disturbing = asyncio.create_task(traffic.run()), asyncio.create_task(disturbances.run())
    samples: list[Sample] = []
    evictions = 0
    try:
        with suppress(asyncio.CancelledError):  # Ctrl-C
            while (left := options.seconds - (time.monotonic() - began)) > 0:
                await asyncio.sleep(min(left, options.sample_seconds))
                passed, counts = time.monotonic() - began, traffic.counts
                pids = await asyncio.to_thread(lambda: service.workers)
                samples.append(sample(passed, pids, counts.answered, counts.take_latencies()))
                show(min(1.0, passed / options.seconds), samples[-1])
                if sending.done():
                    break
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        traffic.stop()
        await sending
    with suppress(httpx.HTTPError):  # it may have died: then 0
        evictions = await asyncio.to_thread(service.evictions)
    return Piece(
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        version=version,
        workers=options.workers,
        counts=traffic.counts,
        samples=samples,
        marks=disturbances.marks,
        swaps=disturbances.swaps,
        evictions=evictions,
        kills=disturbances.kills,
        restarts=disturbances.restarts,
        problems=disturbances.problems,
    )
