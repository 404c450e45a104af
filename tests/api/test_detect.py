"""`/api/v1/detect`: what a device hands in is answered and kept once, or refused and not kept."""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from adapters.picture_stores import open_pictures
from adapters.records import open_records
from lineage.records import ImageRecord
from tests.api.conftest import DEVICES
from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.pictures import encoded, picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

DEVICE = "device-001"
_MOMENTS = (datetime(2026, 11, 29, tzinfo=UTC) + timedelta(seconds=number) for number in itertools.count())


def moment() -> str:
    """A moment that no other test hands in."""
    return next(_MOMENTS).isoformat()


def hand_in(
    api: Service,
    image: bytes | None = None,
    *,
    token: str | None = DEVICES[DEVICE],
    headers: Mapping[str, str] | None = None,
    name: str = "a.jpg",
    **fields: str | None,
) -> httpx.Response:
    """POST a form; a field that is None is left out."""
    image = picture(size=(300, 260)) if image is None else image
    values = {"device_id": DEVICE, "timestamp": moment()} | fields
    sent = {"X-API-Token": token} if token is not None else {}
    return api.client.post(
        "/api/v1/detect",
        files={"image": (name, image)},
        data={key: value for key, value in values.items() if value is not None},
        headers=sent | dict(headers or {}),
    )


def kept(api: Service, answer: httpx.Response) -> tuple[ImageRecord, bytes]:
    """The record and the picture of an answer, read as another process reads them."""
    assert answer.status_code == 200, answer.text
    records = open_records(f"sqlite:///{api.home}/records.db", create=False)
    record = records.image(UUID(answer.json()["image_id"]))
    records.close()
    assert record is not None
    return record, open_pictures(api.home / "pictures").get(record.path)


def count(api: Service) -> int:
    """How many pictures are stored."""
    return sum(1 for _ in open_pictures(api.home / "pictures").objects("images/"))


def test_an_answer_is_kept_with_the_version_that_gave_it(api: Service) -> None:
    image = picture(size=(320, 256))
    answer = hand_in(api, image, metadata='{"site": "north"}', timestamp="2026-11-28T23:59:58.5+01:00")
    record, stored = kept(api, answer)
    body = answer.json()
    assert set(body) == {
        *("image_id", "lakefs_path", "detections", "inference_time_ms", "model_version"),
        *("model", "model_digest", "request_id"),
    }
    assert stored == image
    assert record.path == body["lakefs_path"]
    assert record.path.startswith(f"images/{DEVICE}/2026-11-28/22-59-58_")
    assert record.path.endswith(".jpg")
    capture, run = record.capture, record.run
    assert run is not None
    assert (run.model_name, run.model_version, run.model_digest) == (
        body["model"],
        body["model_version"],
        body["model_digest"],
    )
    assert (capture.width, capture.height, capture.size_bytes) == (320, 256, len(image))
    assert capture.sha256 == sha256(image).hexdigest()
    assert (capture.metadata, capture.filename) == ({"site": "north"}, "a.jpg")
    assert [str(each.id) for each in record.found] == [each["id"] for each in body["detections"]]
    assert [list(each.bbox) for each in record.found] == [each["bbox"] for each in body["detections"]]
    assert record.found


def test_a_retry_is_answered_as_the_first_time_and_stores_nothing(api: Service) -> None:
    taken = moment()
    first = hand_in(api, timestamp=taken)
    before = count(api)
    again = hand_in(api, timestamp=taken)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert _same(first) == _same(again)
    assert count(api) == before


def test_a_key_says_what_a_retry_is(api: Service) -> None:
    first = hand_in(api, headers={"Idempotency-Key": "k-1"})
    again = hand_in(api, headers={"Idempotency-Key": "k-1"})
    assert _same(first) == _same(again)
    other = hand_in(api, picture(size=(301, 260)), headers={"Idempotency-Key": "k-1"})
    refused(other, 400, "idempotency_key_reused")


def test_a_png_stays_a_png(api: Service) -> None:
    image = picture("PNG", size=(256, 256))
    record, stored = kept(api, hand_in(api, image))
    assert stored == image
    assert record.path.endswith(".png")


def test_turned_pictures_have_their_upright_size(api: Service) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    record, _ = kept(api, hand_in(api, encoded(Image.new("RGB", (300, 260)), "JPEG", exif=exif)))
    assert (record.capture.width, record.capture.height) == (260, 300)


@pytest.mark.parametrize(
    ("token", "device", "status", "code"),
    [
        (None, DEVICE, 401, "unauthorized"),
        ("", DEVICE, 401, "unauthorized"),
        ("wrong", DEVICE, 401, "unauthorized"),
        (DEVICES["device-002"], DEVICE, 403, "forbidden"),
    ],
)
def test_only_a_device_hands_in_for_itself(
    api: Service, token: str | None, device: str, status: int, code: str
) -> None:
    before = count(api)
    message = refused(hand_in(api, token=token, device_id=device), status, code)
    assert not token or token not in message
    assert count(api) == before


def _png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"this is text, not a picture",
        picture(size=(300, 255)),
        picture(size=(200, 200)),
        picture(size=(600, 600))[:-400],
        picture("WEBP", size=(300, 300)),
        picture("GIF", size=(300, 300)),
        _png_of(30_000, 30_000),
    ],
    ids=["empty", "text", "low", "small", "truncated", "webp", "gif", "bomb"],
)
def test_what_is_no_picture_of_the_right_kind_is_400_and_not_kept(api: Service, image: bytes) -> None:
    before = count(api)
    answer = hand_in(api, image)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]
    assert count(api) == before


def test_ten_megabytes_are_accepted_in_a_form_and_eleven_are_not(api: Service) -> None:
    small = picture(size=(256, 256))
    # Bytes behind the end of a JPEG belong to no pixel.
    largest = small + b"\0" * (10_000_000 - len(small))
    record, stored = kept(api, hand_in(api, largest))
    assert stored == largest
    assert record.capture.size_bytes == 10_000_000
    for size in (10 * 1024 * 1024 + 1, 11_000_000, 13_000_000):
        answer = hand_in(api, small + b"\0" * (size - len(small)))
        assert answer.status_code == 400, size
    assert hand_in(api).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", None),
        ("timestamp", "yesterday"),
        ("device_id", None),
        ("device_id", "../../etc"),
        ("device_id", "device\n001"),
        ("metadata", "{"),
        ("metadata", '{"a": NaN}'),
        ("metadata", "[1]"),
        ("metadata", '{"a": "\\ud800"}'),
        ("metadata", '{"a":' * 600 + "1" + "}" * 600),
        ("timestamp", "9999-12-31T23:59:59Z"),
        ("timestamp", "0001-01-01T00:00:00Z"),
        ("box_threshold", "nan"),
        ("text_prompt", "a cat ."),
        ("nonsense", "1"),
    ],
)
def test_a_wrong_field_is_400_and_named(api: Service, field: str, value: str | None) -> None:
    before = count(api)
    assert field in refused(hand_in(api, **{field: value}), 400, "invalid_argument")
    assert count(api) == before


def test_a_body_that_is_no_form_is_400(api: Service) -> None:
    sent = {"X-API-Token": DEVICES[DEVICE], "content-type": "image/jpeg"}
    answer = api.client.post("/api/v1/detect", content=picture(), headers=sent)
    refused(answer, 400, "unsupported_media_type")


def test_the_name_of_a_file_never_becomes_a_path(api: Service) -> None:
    record, _ = kept(api, hand_in(api, name="../../../../tmp/evil.jpg"))
    assert record.capture.filename == "evil.jpg"
    assert record.path.startswith(f"images/{DEVICE}/")


def test_health_and_metrics_for_devices(api: Service) -> None:
    hand_in(api)
    assert api.get("/api/v1/health").json() == {"status": "healthy"}
    assert "images_stored_total" in api.get("/api/v1/metrics").text
    assert api.figure("images_stored_total", device_id=DEVICE) >= 1


def test_a_threshold_of_zero_is_recorded_as_such(api: Service) -> None:
    record, _ = kept(api, hand_in(api, box_threshold="0"))
    assert record.run is not None
    assert record.run.config["threshold"] == 0
    assert "text_prompt" not in record.run.config


# --- batches -------------------------------------------------------------------------------------


def batch(api: Service, images: list[bytes], token: str = DEVICES[DEVICE], **fields: str) -> httpx.Response:
    """POST a batch."""
    return api.client.post(
        "/api/v1/detect/batch",
        files=[("images", (f"{number}.jpg", image)) for number, image in enumerate(images)],
        data={"device_id": DEVICE} | fields,
        headers={"X-API-Token": token},
    )


def test_a_picture_that_fails_stops_no_other(api: Service) -> None:
    images = [picture(size=(260 + n, 260)) for n in range(11)]
    images[2] = b"text"
    images[7] = images[7][:-200]
    moments = [moment() for _ in images]
    moments[9] = "never"
    sites = [{"n": n} for n in range(11)]
    answer = batch(
        api, images, timestamps=json.dumps(moments), metadatas=json.dumps(sites), metadata='{"site": "s"}'
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["total_processed"], body["total_failed"]) == (8, 3)
    assert body["failed_images"] == ["2.jpg", "7.jpg", "9.jpg"]
    assert [each["code"] for each in body["failures"]] == [
        "invalid_image",
        "invalid_image",
        "invalid_argument",
    ]
    records = open_records(f"sqlite:///{api.home}/records.db", create=False)
    for result in body["results"]:
        number = int(result["filename"].partition(".")[0])
        record = records.image(UUID(result["image_id"]))
        assert record is not None
        assert record.capture.sha256 == sha256(images[number]).hexdigest()
        assert record.capture.metadata == {"site": "s", "n": number}
        assert record.run is not None
        assert record.run.model_version == result["model_version"]
    records.close()


def test_a_batch_again_is_the_same_batch(api: Service) -> None:
    images = [picture(size=(270 + n, 270)) for n in range(3)]
    taken = json.dumps([moment() for _ in images])
    first, again = (batch(api, images, timestamps=taken).json() for _ in range(2))
    assert [each["image_id"] for each in first["results"]] == [each["image_id"] for each in again["results"]]
    assert len({each["image_id"] for each in first["results"]}) == 3


@pytest.mark.parametrize(
    ("count", "fields", "problem"),
    [
        (51, {}, "more than 50"),
        (0, {}, "images"),
        (2, {"timestamps": "[]"}, "timestamps"),
        (2, {"timestamps": "{"}, "timestamps"),
        (2, {"metadatas": "[{}, {}, {}]"}, "metadatas"),
        (1, {"metadata": "x"}, "metadata"),
    ],
)
def test_a_batch_whose_form_is_wrong_is_refused_as_a_whole(
    api: Service, count: int, fields: dict[str, str], problem: str
) -> None:
    images = [picture(size=(256, 256))] * count
    answer = batch(api, images, **fields) if images else _without_pictures(api)
    assert problem in refused(answer, 400, "invalid_argument")
    assert not list((api.home / "spool").glob("*"))


def _without_pictures(api: Service) -> httpx.Response:
    return api.client.post(
        "/api/v1/detect/batch",
        files={"device_id": (None, DEVICE)},
        headers={"X-API-Token": DEVICES[DEVICE]},
    )


def test_a_batch_needs_the_token_of_its_device(api: Service) -> None:
    refused(batch(api, [picture(size=(256, 256))], token=DEVICES["device-002"]), 403, "forbidden")
    refused(batch(api, [picture(size=(256, 256))], token="no"), 401, "unauthorized")


def test_a_picture_that_is_too_large_fails_alone(api: Service) -> None:
    small = picture(size=(256, 256))
    body = batch(api, [small, small + b"\0" * 11_000_000], timestamps=json.dumps([moment(), moment()])).json()
    assert [each["filename"] for each in body["failures"]] == ["1.jpg"]
    assert body["total_processed"] == 1


def _same(answer: httpx.Response) -> Mapping[str, Any]:
    body = answer.json()
    return {name: value for name, value in body.items() if name != "request_id"}
