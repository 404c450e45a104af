"""The detection server as its operators set it up: replicas, rates, limits, prompts, many pictures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import pytest
from PIL import Image, ImageFilter

from adapters.records import open_records
from adapters.sql import schema
from adapters.sql.database import RECORDS
from api.http.spooled_form import remove_abandoned
from tests.data import need_reference
from tests.e2e.cameras import Cameras, picture_of
from tests.e2e.harness import Service
from tests.e2e.pictures import encoded, picture
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.runners.test_grounding_dino import CONFIG
from tests.support.postgres import running_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

Make = Callable[..., Service]
TOKEN = "token-of-camera-0"
#: What a worker may hold more after many pictures than after some.
_GROWTH = 40_000_000


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of a PostgreSQL database with its tables."""
    with running_server() as server, server.database() as url:
        schema.upgrade(url, purpose=RECORDS)
        yield url


def hand_in(service: Service, image: bytes, second: int = 0, **fields: str) -> httpx.Response:
    """Hand a picture in as device-000."""
    return service.client.post(
        "/api/v1/detect",
        files={"image": ("a.jpg", image)},
        data={"device_id": "device-000", "timestamp": f"2026-11-29T12:00:{second:02}Z"} | fields,
        headers={"X-API-Token": TOKEN},
    )


def configured(folder: Path, **sections: object) -> dict[str, str]:
    """Settings of a service with a configuration file."""
    path = folder / "config.yaml"
    path.write_text(json.dumps({"observability": {"metrics": {"enabled": False}}, **sections}))
    return {"OKAWARI_CONFIG": str(path), "DEVICE_000_TOKEN": TOKEN}


def test_two_services_on_one_database_keep_a_picture_once_and_share_the_rate(
    make_service: Make, store: Store, tmp_path: Path, database: str
) -> None:
    store.add("v1", 1)
    settings = {
        "DEVICE_000_TOKEN": TOKEN,
        "OKAWARI_DATABASE": database,
        "OKAWARI_PICTURES": str(tmp_path / "pictures"),
        "OKAWARI_DEVICE_RATE": "0.001",
        "OKAWARI_DEVICE_BURST": "6",
    }
    other = Store(tmp_path / "other", tmp_path / "scratch")
    other.add("v1", 1)
    services = [make_service(each.home, **settings).ready() for each in (store, other)]
    first, again = (hand_in(service, picture_of(0, 1)) for service in services)
    assert first.json()["image_id"] == again.json()["image_id"]
    assert again.headers["idempotent-replayed"] == "true"
    for second in range(1, 5):
        assert hand_in(services[second % 2], picture_of(0, second), second).status_code == 200
    for service in services:
        refused = hand_in(service, picture_of(0, 9), 9)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_exceeded"
        assert int(refused.headers["retry-after"]) > 100


def test_a_full_storage_refuses_and_says_so(make_service: Make, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    storage = {"max_total_gb": 0.000_01, "warning_threshold_gb": 0.000_005, "cleanup_enabled": False}
    service = make_service(store.home, **configured(tmp_path, storage=storage)).ready()
    answers = [hand_in(service, picture_of(0, second), second) for second in range(12)]
    kept = [answer.status_code for answer in answers].count(200)
    assert 0 < kept < 12
    assert {answer.status_code for answer in answers[kept:]} == {503}
    assert answers[-1].json()["error"]["code"] == "storage_full"
    assert answers[-1].headers["retry-after"]
    until(lambda: service.figure("storage_over_warning") == 1, "the warning is up")
    assert service.figure("storage_limit_bytes") == 10_000
    assert hand_in(service, picture_of(0, 0)).status_code == 200, "what is kept is answered"


def test_without_tokens_any_device_hands_in(make_service: Make, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    service = make_service(store.home, **configured(tmp_path, auth={"enabled": False})).ready()
    answer = service.client.post(
        "/api/v1/detect",
        files={"image": ("a.jpg", picture_of(0, 1))},
        data={"device_id": "anything", "timestamp": "2026-11-29T12:00:00Z"},
    )
    assert answer.status_code == 200, answer.text


def test_the_usual_model_is_asked_with_the_usual_prompt(
    make_service: Make, store: Store, tmp_path: Path
) -> None:
    reference = need_reference("grounding_dino")
    folder = tmp_path / "grounding-dino-base" / "v1"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(reference / name, folder / name)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    store.add("v1", 1)
    store.take(folder)
    model = {"box_threshold": 0.0, "text_threshold": 0.0, "max_detections": 7, "min_box_area": 0}
    settings = configured(tmp_path, model=model) | {"OKAWARI_DEFAULT_MODEL": "m"}
    service = make_service(store.home, **settings).ready()
    until(lambda: service.model("grounding-dino-base")["serving"] == "v1", "the detector serves")
    usual, own = hand_in(service, _noise(1)), hand_in(service, _noise(2), text_prompt="a red fox .")
    records = open_records(f"sqlite:///{store.home}/records.db", create=False)
    for answer, prompt in ((usual, "bird"), (own, "a red fox .")):
        body = answer.json()
        assert (answer.status_code, body["model"]) == (200, "grounding-dino-base"), answer.text
        assert 0 < len(body["detections"]) <= 7
        record = records.image(UUID(body["image_id"]))
        assert record is not None
        assert record.run is not None
        assert record.run.text_prompt == prompt
        assert record.run.config["threshold"] == 0.0
    records.close()


def test_dark_empty_blurred_and_crowded_pictures_are_answered_and_kept(
    make_service: Make, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, DEVICE_000_TOKEN=TOKEN).ready()
    crowded = Image.open(BytesIO(_noise(3)))
    images = {
        "dark": picture(size=(640, 480), colour=(0, 0, 0)),
        "empty": picture(size=(640, 480), colour=(255, 255, 255)),
        "crowded": encoded(crowded, "PNG"),
        "blurred": encoded(crowded.filter(ImageFilter.GaussianBlur(20)), "JPEG"),
        "grey": encoded(crowded.convert("L"), "PNG"),
    }
    for second, (name, image) in enumerate(images.items()):
        answer = hand_in(service, image, second)
        assert answer.status_code == 200, (name, answer.text)
        assert len(answer.json()["detections"]) <= 100


def test_health_says_why_no_picture_can_be_answered(make_service: Make, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    service = make_service(store.home, **configured(tmp_path, model={"name": "missing"})).ready()
    unwell = service.get("/api/v1/health")
    assert unwell.status_code == 503
    assert "missing" in unwell.json()["error"]["message"]
    assert hand_in(service, picture_of(0, 1)).status_code == 503


def test_devices_with_one_token_end_the_start(make_service: Make, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    settings = configured(tmp_path, auth={"tokens": {"a": "same-token", "b": "same-token"}})
    service = make_service(store.home, **settings).launch()
    assert service.ended() != 0
    assert "the devices a and b have the same token" in service.tail()
    assert "same-token" not in service.tail()


def test_a_database_whose_file_was_removed_accepts_nothing(make_service: Make, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, DEVICE_000_TOKEN=TOKEN).ready()
    assert hand_in(service, picture_of(0, 1)).status_code == 200
    for file in store.home.glob("records.db*"):
        file.unlink()
    answer = hand_in(service, picture_of(0, 2), 1)
    assert answer.status_code == 503
    assert "gone" in answer.json()["error"]["message"]


def test_what_a_killed_batch_left_on_disk_is_removed_later(tmp_path: Path) -> None:
    old, young = tmp_path / "form-old", tmp_path / "form-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "0").write_bytes(b"picture")
    os.utime(old, (0, 0))
    remove_abandoned(tmp_path, 600)
    assert not old.exists()
    assert young.exists()


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pause", [600, 1], ids=["a week of each camera", "one day of each camera"])
def test_memory_stays_flat_over_many_pictures(make_service: Make, store: Store, pause: int) -> None:
    store.add("v1", 1)
    service: Service
    cameras = Cameras(lambda: service.url, 50, max(20, SIZES.many_hand_ins // 50), pause=pause)
    rates = {"OKAWARI_DEVICE_RATE": "10000", "OKAWARI_DEVICE_BURST": "10000"}
    service = make_service(store.home, **cameras.tokens, **rates).ready()
    cameras.start()
    until(lambda: len(cameras.accepted) >= SIZES.many_hand_ins // 5, "a fifth is accepted", seconds=3600)
    before = service.resident()
    until(lambda: cameras.are_done, "all are accepted", seconds=3600)
    assert cameras.refused == []
    grown = service.resident() - before
    print(f"{len(cameras.accepted)} pictures, {cameras.tries} tries, {grown / 1e6:.1f} MB more")
    assert grown < _GROWTH


def _noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", quality=80)
