"""Every accepted picture is kept exactly once, with the version that answered, whatever dies."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from adapters.picture_stores import open_pictures
from adapters.records import open_records
from adapters.sql import schema
from adapters.sql.database import RECORDS
from adapters.sql.sql_records import SqlRecords
from lineage.picture_store import PictureStore
from scripts import clients
from tests import builders
from tests.e2e.cameras import Cameras, picture_of, versions
from tests.e2e.harness import BIN, Service, environment
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.slow_model import Pace, add_slow
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.picture_places import PicturePlace, folder_place
from tests.support.postgres import PostgresServer, running_server
from tests.support.s3_server import running_s3

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3 * LIMIT)]

Make = Callable[..., Service]


class Backing:
    """Database and picture store of a service, which can be stopped and started."""

    def __init__(self, url: str, place: PicturePlace, postgres: PostgresServer | None) -> None:
        self.url = url
        self.place = place
        self._postgres = postgres

    @property
    def settings(self) -> dict[str, str]:
        """What the service is told."""
        options = self.place.options
        settings = {"OKAWARI_DATABASE": self.url, "OKAWARI_PICTURES": self.place.location}
        if options.endpoint is not None:
            settings |= {
                "MINIO_ENDPOINT": options.endpoint.removeprefix("http://"),
                "MINIO_ACCESS_KEY": options.access_key,
                "MINIO_SECRET_KEY": options.secret_key,
            }
        return settings

    def break_and_mend(self, seconds: float) -> None:
        """Stop what can be stopped, one after the other, and start it again."""
        if self._postgres is not None:
            self._postgres.stop()
            time.sleep(seconds)
            self._postgres.start()
        if self.place.server is not None:
            self.place.server.stop()
            time.sleep(seconds)
            self.place.server.start()

    def opened(self) -> tuple[SqlRecords, PictureStore]:
        """As another process opens them."""
        records = open_records(self.url, create=False)
        return records, open_pictures(self.place.location, self.place.options, may_make=lambda: False)


@contextmanager
def _embedded(folder: Path) -> Iterator[Backing]:
    place = folder_place(folder / "pictures")
    yield Backing(f"sqlite:///{folder}/records.db", place, None)


@contextmanager
def _servers(folder: Path) -> Iterator[Backing]:
    try:
        with running_s3() as s3, running_server() as postgres, postgres.database() as url:
            schema.upgrade(url, purpose=RECORDS)
            yield Backing(url, s3.place(), postgres if postgres.is_own else None)
    except clients.Unavailable as error:
        pytest.skip(f"no S3 server: {error}")


@pytest.fixture(params=[_embedded, _servers], ids=["sqlite-folder", "postgresql-s3"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """SQLite and a folder; PostgreSQL and an S3 server that the test starts."""
    with request.param(tmp_path) as made:
        yield made


def test_every_accepted_picture_is_kept_once_with_the_version_that_answered(
    make_service: Make, store: Store, backing: Backing
) -> None:
    for code in (1, 2):
        store.add(f"v{code}", code)
    service: Service
    cameras = Cameras(lambda: service.url, 20, SIZES.hand_ins // 20)
    settings = {**backing.settings, **cameras.tokens, "OKAWARI_DEFAULT_MODEL": "m"}
    service = make_service(store.home, **settings).ready()
    cameras.start()
    for round_number in range(3):
        goal = (round_number + 1) * SIZES.hand_ins // 4
        until(lambda goal=goal: len(cameras.accepted) >= goal, f"{goal} accepted", seconds=LIMIT)  # type: ignore[misc]
        service.target(f"v{1 + round_number % 2}")
        backing.break_and_mend(0.3)
        service.destroy()
        service = make_service(store.home, **settings).ready()
    until(lambda: cameras.are_done, "all are accepted", seconds=LIMIT)
    cameras.stop()
    assert cameras.refused == []
    assert len(cameras.accepted) == SIZES.hand_ins
    assert len(versions(cameras.accepted)) > 1
    _agree(cameras, backing, service)


def _agree(cameras: Cameras, backing: Backing, service: Service) -> None:
    """What the cameras were told, the records and the pictures are the same."""
    until(lambda: service.figure("outbox_pictures") == 0, "the outbox is empty")
    records, pictures = backing.opened()
    accepted = {each.sha256: each for each in cameras.accepted}
    with records.database.reading() as connection:
        rows = connection.execute(text("SELECT sha256, count(*) FROM images GROUP BY sha256")).all()
    assert {row[0] for row in rows} == accepted.keys()
    assert {row[1] for row in rows} == {1}
    assert _pictures(pictures) == len(accepted)
    for each in cameras.accepted:
        record = records.image(UUID(each.answer["image_id"]))
        assert record is not None
        assert record.run is not None
        told = (each.answer["model_version"], each.answer["model_digest"], each.answer["lakefs_path"])
        assert (record.run.model_version, record.run.model_digest, record.path) == told
        assert f"v{builders.code_of(max(found.confidence for found in record.found))}" == told[0]
    records.close()
    verified = _okawari(service, backing, "db", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _pictures(pictures: PictureStore) -> int:
    """How many pictures there are; a commit may be writing its documents beside them."""
    return sum(1 for each in pictures.objects("images/") if not each.path.endswith(".json"))


def _okawari(service: Service, backing: Backing, *words: str) -> subprocess.CompletedProcess[str]:
    env = environment(service.store, service.home, **backing.settings)
    return subprocess.run(
        [BIN / "okawari", *words], env=env, capture_output=True, text=True, timeout=100, check=False
    )


def test_what_is_away_refuses_and_nothing_is_lost(make_service: Make, store: Store, backing: Backing) -> None:
    store.add("v1", 1)
    settings = {**backing.settings, "DEVICE_000_TOKEN": "token-of-camera-0"}
    service = make_service(store.home, **settings).ready()
    assert _hand_in(service, 0).status_code == 200
    if backing.place.server is None:
        pytest.skip("this picture store cannot be stopped")
    with backing.place.away():
        answer = _hand_in(service, 1)
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        assert answer.json()["error"]["code"] == "pictures_unavailable"
        assert _hand_in(service, 0).headers["idempotent-replayed"] == "true"
    assert _hand_in(service, 1).status_code == 200


def test_a_deferring_outbox_accepts_while_all_is_away_and_delivers_later(
    make_service: Make, store: Store, backing: Backing, tmp_path: Path
) -> None:
    store.add("v1", 1)
    config = tmp_path / "config.yaml"
    config.write_text("outbox: {enabled: true}\nobservability: {metrics: {enabled: false}}\n")
    settings = {**backing.settings, "DEVICE_000_TOKEN": "token-of-camera-0", "OKAWARI_CONFIG": str(config)}
    service = make_service(store.home, **settings).ready()
    records, pictures = backing.opened()
    before = UUID(_hand_in(service, 0).json()["image_id"])
    until(lambda: records.image(before) is not None, "the first is delivered")
    with backing.place.away():
        first = _hand_in(service, 1)
        assert first.status_code == 200, first.text
        service.destroy()
        service = make_service(store.home, **settings).ready()
        again = _hand_in(service, 1)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["detections"] == first.json()["detections"]
    until(lambda: records.image(UUID(first.json()["image_id"])) is not None, "the second is delivered")
    assert pictures.get(first.json()["lakefs_path"]) == picture_of(0, 1)
    records.close()


def test_the_end_of_the_service_ends_a_batch_with_what_is_done(make_service: Make, store: Store) -> None:
    add_slow(store)
    service = make_service(store.home, DEVICE_000_TOKEN="token-of-camera-0").ready()
    level = Image.open(BytesIO(Pace(service).picture(0.2))).getpixel((0, 0))
    images = [picture("PNG", size=(256, 256), colour=level) for _ in range(40)]
    answer = _batch_while(service, images, service.stop)
    assert answer.status_code == 200
    body = answer.json()
    assert body["total_processed"] + body["total_failed"] == 40
    assert 0 < body["total_processed"] < 40
    assert {each["code"] for each in body["failures"]} == {"shutting_down"}


def _batch_while(service: Service, images: list[bytes], act: Callable[[], object]) -> httpx.Response:
    """The answer to a batch during which something is done."""
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(
            httpx.post(
                f"{service.url}/api/v1/detect/batch",
                files=[("images", (f"{n}.jpg", image)) for n, image in enumerate(images)],
                data={
                    "device_id": "device-000",
                    "timestamps": json.dumps([f"2026-11-29T12:00:{n:02}Z" for n in range(len(images))]),
                },
                headers={"X-API-Token": "token-of-camera-0"},
                timeout=60,
                trust_env=False,
            )
        )

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: service.figure("images_stored_total") > 0, "the batch has begun")
    act()
    sender.join(60)
    return answers[0]


def _hand_in(service: Service, index: int) -> httpx.Response:
    return service.client.post(
        "/api/v1/detect",
        files={"image": (f"{index}.jpg", picture_of(0, index))},
        data={"device_id": "device-000", "timestamp": f"2026-11-29T12:00:{index:02}Z"},
        headers={"X-API-Token": "token-of-camera-0"},
    )
