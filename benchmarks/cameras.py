"""Devices that hand in pictures of 1024x1024, beside `/predict` and the limit; what keeping them costs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image

from adapters.picture_stores import open_pictures
from adapters.records import open_records
from benchmarks.client import Load, LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.limit import Limit
from benchmarks.machine import cores
from benchmarks.serving import HOST, Service
from lineage.acceptance import Acceptance
from lineage.outbox import Outbox
from lineage.records import Capture, ImageRecord, ProcessingStatus
from manifest.tags import ModelTag

SIDE = 1024
DEVICES = 10
TOKEN = "token of the bench"  # noqa: S105 - of a service that ends with the bench
#: Variables of the service that let the devices in, as fast as they can.
SETTINGS = {
    **{f"DEVICE_{number:03}_TOKEN": f"{TOKEN} {number}" for number in range(DEVICES)},
    "OKAWARI_DEVICE_RATE": "100000",
    "OKAWARI_DEVICE_BURST": "100000",
}
#: Prepared requests of one round; a service that answers more of them would answer the first again.
_REQUESTS = 600
_KEPT = 100
_BOUNDARY = "okawari-bench"


@dataclass(frozen=True, slots=True)
class CameraRun:
    """One round: answers a second and milliseconds of the 95th of 100 answers."""

    rate: float
    p50: float
    p95: float
    predict_rate: float
    predict_p95: float
    limit_rate: float
    failed: int


@dataclass(slots=True)
class CameraResult:
    """All rounds; `keeping`: milliseconds that picture and record of one hand-in take, by picture store."""

    runs: list[CameraRun] = field(default_factory=list)
    keeping: dict[str, list[float]] = field(default_factory=dict)

    def figure(self, name: str) -> Spread:
        """A figure of `CameraRun` over the rounds."""
        return Spread.of([float(getattr(run, name)) for run in self.runs])

    @property
    def of_predict(self) -> Spread:
        """Throughput as a share of that of `/predict`."""
        return Spread.of([run.rate / run.predict_rate for run in self.runs])

    @property
    def of_limit(self) -> Spread:
        """Throughput as a share of the limit."""
        return Spread.of([run.rate / run.limit_rate for run in self.runs])


def square(pictures: Sequence[bytes]) -> list[bytes]:
    """These pictures at 1024x1024, as JPEGs."""
    made = []
    for data in pictures:
        with Image.open(BytesIO(data)) as image:
            file = BytesIO()
            image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def measure(
    service: Service, model: str, pictures: Sequence[bytes], *, rounds: int, seconds: float
) -> Iterator[CameraResult]:
    """Ten devices at once; the result grows with each round."""
    result, moments = CameraResult(), itertools.count()
    with Limit(service.home, ModelTag(model, "v1"), [pictures], cores()) as limit:
        # The first picture opens database and picture store, in each worker.
        _load(service, [_hand_in(service, pictures[0], next(moments)) for _ in range(_REQUESTS)], 1.0)
        for _ in range(rounds):
            result.runs.append(_round(service, limit, pictures, moments, seconds))
            yield result


def _round(
    service: Service, limit: Limit, pictures: Sequence[bytes], moments: Iterator[int], seconds: float
) -> CameraRun:
    limited = limit.run(0, seconds)
    predict = _load(service, [request(*service.address, picture) for picture in pictures], seconds)
    hand_ins = [
        _hand_in(service, pictures[number % len(pictures)], next(moments)) for number in range(_REQUESTS)
    ]
    detect = _load(service, hand_ins, seconds)
    times, predicted = ([one.milliseconds for one in load.done] for load in (detect, predict))
    return CameraRun(
        rate=detect.rate,
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        predict_rate=predict.rate,
        predict_p95=percentile(predicted, 0.95),
        limit_rate=limited.rate,
        failed=detect.failed + predict.failed,
    )


def _load(service: Service, requests: Sequence[bytes], seconds: float) -> Load:
    until = time.monotonic() + seconds
    return LoadGenerator(service.address, requests, DEVICES).run(lambda: time.monotonic() >= until)


def _hand_in(service: Service, picture: bytes, number: int) -> bytes:
    """A whole request of one device, with a moment of its own."""
    device = number % DEVICES
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)
    fields = {"device_id": f"device-{device:03}", "timestamp": moment.isoformat()}
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = b"".join([*parts, head.encode(), picture, f"\r\n--{_BOUNDARY}--\r\n".encode()])
    lines = (
        f"POST /api/v1/detect HTTP/1.1\r\nHost: {HOST}:{service.port}\r\n"
        f"X-API-Token: {TOKEN} {device}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return lines.encode() + body


def keeping(room: Path, pictures: Sequence[bytes], tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Milliseconds to keep one picture in SQLite and a folder, alone: all of it, and the picture's put."""
    records = open_records(f"sqlite:///{room}/records.db")
    store = open_pictures(room / "pictures")
    acceptance = Acceptance(records, store, Outbox(room / "outbox"))
    whole: list[float] = []
    puts: list[float] = []
    for number in range(_KEPT):
        tell(f"kept {number + 1} of {_KEPT}")
        data = pictures[number % len(pictures)]
        record = _record(data, number)
        begun = time.perf_counter()
        acceptance.accept(record, data)
        whole.append((time.perf_counter() - begun) * 1e3)
        begun = time.perf_counter()
        store.put(f"images/put/{number}.jpg", data, {})
        puts.append((time.perf_counter() - begun) * 1e3)
    records.close()
    return {"SQLite and folder": whole, "the folder's put alone": puts}


def _record(data: bytes, number: int) -> ImageRecord:
    moment = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(seconds=number)
    capture = Capture(
        device_id="bench",
        captured_at=moment,
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
        format="jpg",
        width=SIDE,
        height=SIDE,
    )
    return ImageRecord(
        image_id=capture.image_id,
        capture=capture,
        path="",
        uploaded_at=moment,
        status=ProcessingStatus.COMPLETED,
    )
