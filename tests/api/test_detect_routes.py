"""The routes for devices in this process, over a world of fakes: what is answered, kept, and refused."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from api.budget import ByteBudget
from api.detection_parts import BatchPlaces, DetectionParts
from api.detector import DetectionRules, Detector
from api.device_auth import DeviceAuth
from api.http import detect_openapi, detect_routes
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from hotswap.errors import ModelFailed, Overloaded
from hotswap.events import Recorder
from hotswap.predictions import Options
from lineage.acceptance import Acceptance
from lineage.commits import Committer
from lineage.device_tokens import DeviceTokens
from lineage.errors import PicturesUnavailable
from lineage.outbox import Outbox
from runners import decode
from tests.api.shape import refused
from tests.hotswap.world import LiveWorld, live
from tests.support.pictures_memory import MemoryPictures
from tests.support.records_memory import RecordsMemory

TOKENS = {"cam-1": "a" * 20, "cam-2": "b" * 20}
TAKEN = "2026-11-29T14:05:00Z"
RULES = DetectionRules(
    max_bytes=100_000,
    formats=("JPEG", "PNG"),
    min_width=8,
    min_height=8,
    usual=Options(threshold=0.5),
    max_detections=10,
    min_box_area=0.0,
)


def picture(shade: int = 1, kind: str = "PNG", size: tuple[int, int] = (16, 12)) -> bytes:
    """A small picture; equal shades are the same bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(file, kind)
    return file.getvalue()


class _Rates:
    """At most so many pictures, counted."""

    def __init__(self) -> None:
        self.left = 100
        self.taken: list[tuple[str, int]] = []

    def take(self, device: str, count: int = 1) -> None:
        self.taken.append((device, count))
        if count > self.left:
            raise Overloaded("too many pictures")


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


@dataclass
class Devices:
    """What devices reach, and what is kept of it."""

    world: LiveWorld
    parts: DetectionParts
    records: RecordsMemory
    pictures: MemoryPictures
    rates: _Rates
    spool: Path
    ending: list[bool] = field(default_factory=list)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, as cam-1 unless its headers say otherwise."""

        async def get() -> DetectionParts:
            return self.parts

        middleware = MiddlewareOptions(
            max_body_bytes=1_000_000,
            bodies=ByteBudget(10_000_000),
            request_timeout=30,
            not_ready=lambda: None,
            draining=lambda: False,
            observer=_Unobserved(),
        )
        app = RequestMiddleware(Starlette(routes=detect_routes.table(get)), middleware)

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def one(
        self, data: bytes, headers: Mapping[str, str] | None = None, **fields: str | None
    ) -> httpx.Response:
        """Hand in a picture; a field that is None is left out."""
        values = {"device_id": "cam-1", "timestamp": TAKEN} | fields
        return self._form(detect_routes.DETECT, [("image", ("a.png", data))], values, headers)

    def batch(
        self, *pictures: bytes, headers: Mapping[str, str] | None = None, **fields: str | None
    ) -> httpx.Response:
        """Hand in several, named 0.png, 1.png, …"""
        files = [("images", (f"{number}.png", data)) for number, data in enumerate(pictures)]
        return self._form(detect_routes.BATCH, files, {"device_id": "cam-1"} | fields, headers)

    def _form(
        self, path: str, files: Any, values: Mapping[str, str | None], headers: Mapping[str, str] | None
    ) -> httpx.Response:
        data = {name: text for name, text in values.items() if text is not None}
        sent = {"X-API-Token": TOKENS["cam-1"], **(headers or {})}
        return self.ask("POST", path, files=files, data=data, headers=sent)


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Devices]:
    """A model m that answers, and an empty store."""
    records, pictures, rates = RecordsMemory(), MemoryPictures(), _Rates()
    (tmp_path / "spool").mkdir()
    with live("m:v1") as world:
        committer = Committer(records, pictures, holder="one", batch_size=50, batch_timeout=3600)
        ending: list[bool] = []
        parts = DetectionParts(
            auth=DeviceAuth(DeviceTokens(TOKENS, None), "X-API-Token"),
            rates=rates,
            detector=Detector(
                world.data_plane,
                Recorder(world.observer),
                Acceptance(records, pictures, Outbox(tmp_path / "outbox")),
                RULES,
                measure=decode.measure,
                model=lambda: "m",
                stored=lambda record: None,
            ),
            batch=committer.batch,
            commit=committer.commit_now,
            check_room=lambda: None,
            batch_places=BatchPlaces(1),
            ending=lambda: bool(ending),
            not_ready=lambda: None,
            metrics=lambda: b"up 1\n",
            spool=tmp_path / "spool",
            max_picture_bytes=RULES.max_bytes,
            max_batch=10,
            batch_timeout=30.0,
        )
        world.reconciler.wake()
        assert asyncio.run(world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5))
        yield Devices(world, parts, records, pictures, rates, tmp_path / "spool", ending)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_picture_is_answered_and_kept_once(devices: Devices) -> None:
    first = devices.one(picture(), metadata='{"site": "a"}')
    assert first.status_code == 200
    document = first.json()
    assert (document["model"], document["model_version"]) == ("m", "v1")
    assert [found["label"] for found in document["detections"]] == ["code"]
    assert devices.pictures.content == {document["lakefs_path"]: picture()}
    again = devices.one(picture(), metadata='{"site": "a"}')
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() | {"request_id": ""} == document | {"request_id": ""}
    assert devices.world.loader.of("v1").served == 1


@pytest.mark.parametrize(
    ("changes", "headers", "status", "code"),
    [
        ({}, {"X-API-Token": ""}, 401, "unauthorized"),
        ({}, {"X-API-Token": "c" * 20}, 401, "unauthorized"),
        ({"device_id": "cam-2"}, {}, 403, "forbidden"),
        ({}, {"Content-Encoding": "gzip"}, 415, None),
        ({}, {"Content-Type": "application/json"}, 415, "unsupported_media_type"),
        ({"device_id": "../a"}, {}, 400, "invalid_argument"),
        ({"timestamp": "yesterday"}, {}, 400, "invalid_argument"),
        ({"metadata": "[]"}, {}, 400, "invalid_argument"),
        ({"more": "1"}, {}, 400, "invalid_argument"),
    ],
)
def test_what_is_refused_is_not_kept(
    devices: Devices, changes: dict[str, str], headers: dict[str, str], status: int, code: str | None
) -> None:
    answer = devices.one(picture(), headers, **changes)
    refused(answer, status, code or answer.json()["error"]["code"])
    assert devices.pictures.content == {}


@pytest.mark.parametrize("data", [b"", b"no picture", picture(kind="GIF"), picture(size=(7, 8))])
def test_a_picture_that_cannot_be_taken_is_refused(devices: Devices, data: bytes) -> None:
    assert devices.one(data).status_code in (400, 415)
    assert devices.pictures.content == {}


def test_a_batch_is_kept_as_one_and_its_broken_pictures_stop_no_other(devices: Devices) -> None:
    answer = devices.batch(picture(1), b"no picture", picture(2), metadata='{"site": "a"}')
    document = answer.json()
    assert (document["total_processed"], document["total_failed"]) == (2, 1)
    assert document["failed_images"] == ["1.png"]
    assert [each["filename"] for each in document["results"]] == ["0.png", "2.png"]
    assert len(devices.pictures.commits) == 1
    assert devices.rates.taken == [("cam-1", 3)]
    assert devices.records.uncommitted(10) == []


def test_each_picture_of_a_batch_has_its_own_time_metadata_and_key(devices: Devices) -> None:
    shared = {"metadata": '{"site": "a", "n": 0}', "timestamps": f'["{TAKEN}", "2026-11-29T14:06:00Z"]'}
    key = {"Idempotency-Key": "night"}
    sent = shared | {"metadatas": '[{"n": 1}, {}]'}
    first = devices.batch(picture(1), picture(2), headers=key, **sent).json()
    captures = [
        record.capture
        for each in first["results"]
        if (record := devices.records.image(UUID(each["image_id"]))) is not None
    ]
    assert [capture.captured_at.minute for capture in captures] == [5, 6]
    assert [capture.metadata for capture in captures] == [{"site": "a", "n": 1}, {"site": "a", "n": 0}]
    assert [capture.idempotency_key for capture in captures] == ["night/0", "night/1"]
    again = devices.batch(picture(1), picture(2), headers=key, **sent).json()
    assert [each["image_id"] for each in again["results"]] == [each["image_id"] for each in first["results"]]
    assert len(devices.pictures.commits) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamps": "[]"},
        {"timestamps": '{"0": 1}'},
        {"timestamps": "["},
        {"metadatas": "[{}, {}]"},
        {"device_id": None},
        {"timestamp": TAKEN},
        {"metadata": "1"},
    ],
)
def test_a_batch_with_a_wrong_field_is_refused_as_a_whole(
    devices: Devices, fields: dict[str, str | None]
) -> None:
    refused(devices.batch(picture(), **fields), 400, "invalid_argument")
    assert devices.pictures.content == {}


def test_a_wrong_field_of_one_picture_fails_that_one(devices: Devices) -> None:
    document = devices.batch(picture(1), picture(2), timestamps=f'["soon", "{TAKEN}"]').json()
    assert [each["code"] for each in document["failures"]] == ["invalid_argument"]
    assert [each["filename"] for each in document["results"]] == ["1.png"]


def test_a_batch_without_pictures_is_refused(devices: Devices) -> None:
    answer = devices.ask(
        "POST",
        detect_routes.BATCH,
        headers={"X-API-Token": TOKENS["cam-1"], "Content-Type": "multipart/form-data; boundary=x"},
        content=b'--x\r\nContent-Disposition: form-data; name="device_id"\r\n\r\ncam-1\r\n--x--\r\n',
    )
    refused(answer, 400, "invalid_argument")


def test_a_device_hands_in_no_batch_for_another(devices: Devices) -> None:
    refused(devices.batch(picture(), device_id="cam-2"), 403, "forbidden")
    assert devices.rates.taken == []


@pytest.mark.parametrize("many", [1, 2])
def test_more_than_the_rate_is_refused_before_the_model(devices: Devices, many: int) -> None:
    devices.rates.left = 0
    answer = devices.one(picture()) if many == 1 else devices.batch(picture(1), picture(2))
    assert answer.status_code == 429
    assert devices.world.loader.of("v1").served == 0


def test_a_device_has_one_batch_at_a_time_and_all_have_few(devices: Devices) -> None:
    with devices.parts.batch_places.taken("cam-1"):
        refused(devices.batch(picture()), 429, "overloaded")
        other = {"X-API-Token": TOKENS["cam-2"]}
        refused(devices.batch(picture(), headers=other, device_id="cam-2"), 429, "overloaded")
    assert devices.batch(picture()).json()["total_processed"] == 1


def test_a_batch_that_the_end_comes_before_is_sent_again(devices: Devices) -> None:
    devices.ending.append(True)
    document = devices.batch(picture(1), picture(2)).json()
    assert {each["code"] for each in document["failures"]} == {"shutting_down"}
    assert (document["total_processed"], devices.pictures.commits) == (0, [])


def test_batches_may_be_off(devices: Devices) -> None:
    devices.parts = replace(devices.parts, batches=False)
    assert devices.batch(picture()).status_code == 501


def test_a_commit_that_fails_leaves_the_pictures_kept(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> str:
        raise PicturesUnavailable("away")

    monkeypatch.setattr(devices.pictures, "commit", away)
    assert devices.batch(picture()).json()["total_processed"] == 1
    assert len(devices.pictures.content) >= 1


def test_a_model_that_fails_keeps_nothing(devices: Devices) -> None:
    devices.world.loader.of("v1").fails["predict"] = ModelFailed("broken")
    refused(devices.one(picture()), 500, "model_failed")
    document = devices.batch(picture(1), picture(2)).json()
    assert {each["code"] for each in document["failures"]} == {"model_failed"}
    assert devices.pictures.content == {}


@pytest.mark.parametrize(("reason", "status"), [(None, 200), ("no version serves", 503)])
def test_health_says_whether_pictures_can_be_answered(
    devices: Devices, reason: str | None, status: int
) -> None:
    devices.parts = replace(devices.parts, not_ready=lambda: reason)
    assert devices.ask("GET", detect_routes.HEALTH).status_code == status


def test_metrics_are_text(devices: Devices) -> None:
    assert devices.ask("GET", detect_routes.METRICS).text == "up 1\n"


def test_every_route_is_documented_with_what_it_takes() -> None:
    paths, schemas = detect_openapi.paths(), detect_openapi.schemas()

    async def none() -> DetectionParts:
        raise AssertionError

    routes: list[Any] = detect_routes.table(none)
    assert {path: {*operations} for path, operations in paths.items()} == {
        route.path: {each.lower() for each in route.methods - {"HEAD"}} for route in routes
    }
    batch = paths[detect_routes.BATCH]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert batch["required"] == ["images", "device_id"]
    assert set(_references(paths)) - {"ErrorBody"} <= set(schemas)


def _references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"].rpartition("/")[2]
        for value in document.values():
            yield from _references(value)
