"""The promises of a picture store, kept by every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineage.errors import BadPicturePlace, PathTaken, PictureNotFound, PicturesUnavailable
from lineage.paths import path_of
from lineage.picture_store import PictureStore
from lineage.records import Capture
from tests.support.picture_places import PicturePlace

DAY = "images/cam-1/2026-01-02"
PATH = f"{DAY}/03-04-05_ab12.jpg"
METADATA = {"image_id": "0b7e9a52", "filename": "Vögel 100%.jpg"}

BAD_PATHS = [
    *("", "/etc/passwd", "..", "../x", "images/../../x", "images//x", "images/./x", "images/", "/"),
    *("images/.hidden", ".incoming/x", "images/a b", "images/a\nb", "images/a\\b", "images/ü", "images/a?b"),
    *("images/-rf", "images/a\0b", "a/" * 260 + "a", "images/" + "a" * 201),
]
_CALLS: dict[str, Callable[[PictureStore, str], Any]] = {
    "put": lambda pictures, path: pictures.put(path, b"x", {}),
    "replace": lambda pictures, path: pictures.replace(path, b"x"),
    "get": lambda pictures, path: pictures.get(path),
    "delete": lambda pictures, path: pictures.delete([path]),
}


def test_a_picture_lies_below_its_device_and_day_under_its_moment_and_the_begin_of_its_id(
    pictures: PictureStore,
) -> None:
    captured = datetime(2026, 1, 2, 4, 4, 5, 999999, UTC) - timedelta(hours=1)
    capture = Capture(
        device_id="cam-1",
        captured_at=captured,
        sha256="5" * 64,
        size_bytes=3,
        format="jpg",
        width=1,
        height=1,
    )
    begin = f"images/cam-1/2026-01-02/03-04-05_{capture.image_id.hex[:4]}"
    assert path_of(capture) == f"{begin}.jpg"
    assert path_of(capture, 6) == f"{begin}{capture.image_id.hex[4:6]}.jpg"
    pictures.put(path_of(capture), b"one", METADATA)
    pictures.put(path_of(capture, 6), b"two", METADATA)
    # Devices, scripts and notebooks rely on it.
    assert {one.path for one in pictures.objects()} == {path_of(capture), path_of(capture, 6)}


def test_a_picture_is_stored_as_it_came(pictures: PictureStore) -> None:
    data = bytes(range(256)) * 200
    pictures.put(PATH, data, METADATA)
    assert pictures.get(PATH) == data
    (stored,) = pictures.objects()
    assert (stored.path, stored.size) == (PATH, len(data))
    assert abs(stored.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_empty_store_is_usable(pictures: PictureStore) -> None:
    pictures.check()
    assert list(pictures.objects()) == []


def test_the_same_bytes_again_change_nothing(pictures: PictureStore) -> None:
    pictures.put(PATH, b"one", METADATA)
    pictures.put(PATH, b"one", {})
    assert [one.path for one in pictures.objects()] == [PATH]


def test_other_bytes_are_refused_and_nothing_is_changed(pictures: PictureStore) -> None:
    pictures.put(PATH, b"one", METADATA)
    with pytest.raises(PathTaken):
        pictures.put(PATH, b"two", METADATA)
    assert pictures.get(PATH) == b"one"


def test_a_document_replaces_what_lies_there(pictures: PictureStore) -> None:
    document = f"{DAY}/metadata.json"
    for text in (b"{}", b'{"pictures": []}'):
        pictures.replace(document, text)
        assert pictures.get(document) == text


def test_what_is_not_there_is_missing(pictures: PictureStore) -> None:
    pictures.put(PATH, b"one", METADATA)
    for path in (f"{DAY}/03-04-05_ab13.jpg", "images/cam-2/2026-01-02/03-04-05_ab12.jpg", DAY, f"{PATH}/x"):
        with pytest.raises(PictureNotFound):
            pictures.get(path)


def test_what_is_deleted_is_gone_and_may_be_put_anew(pictures: PictureStore) -> None:
    pictures.put(PATH, b"one", METADATA)
    pictures.delete([PATH, f"{DAY}/never.jpg", "images/never/there.jpg"])
    pictures.delete([])
    assert list(pictures.objects()) == []
    pictures.put(PATH, b"two", METADATA)
    assert pictures.get(PATH) == b"two"


def test_objects_come_in_the_order_of_their_paths_and_by_the_begin_of_them(pictures: PictureStore) -> None:
    days = (
        "cam-1/2026-01-02",
        "cam-1/2026-01-03",
        "cam-1-b/2026-01-02",
        "cam-10/2026-01-02",
        "cam.1/2026-01-02",
    )
    paths = sorted(f"images/{day}/0{hour}-00-00_abcd.jpg" for day in days for hour in (1, 2))
    for path in reversed(paths):
        pictures.put(path, b"x", {})
    for prefix in (
        "",
        "images",
        "images/cam-1",
        "images/cam-1/",
        "images/cam-1/2026-01-0",
        paths[3],
        "images/cam-2",
    ):
        assert [one.path for one in pictures.objects(prefix)] == [
            path for path in paths if path.startswith(prefix)
        ], prefix


@pytest.mark.parametrize("call", _CALLS)
def test_a_path_never_leaves_the_store(pictures: PictureStore, call: str) -> None:
    for path in BAD_PATHS:
        with pytest.raises(BadPicturePlace):
            _CALLS[call](pictures, path)
    assert list(pictures.objects()) == []


def test_nothing_begins_with_what_no_path_begins_with(pictures: PictureStore) -> None:
    for prefix in ("/", "..", "images/../", "images/.", "images//", "images/ü"):
        with pytest.raises(BadPicturePlace):
            list(pictures.objects(prefix))


@pytest.mark.slow
def test_of_many_at_once_one_gets_the_path(place: PicturePlace) -> None:
    def put(number: int) -> bool:
        try:
            place.open().put(PATH, b"%d" % number, METADATA)
        except PathTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(put, range(8)))
    assert stored.count(True) == 1
    assert place.open().get(PATH) == b"%d" % stored.index(True)


@pytest.mark.slow
def test_the_same_bytes_from_many_at_once_are_all_stored(place: PicturePlace) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: place.open().put(PATH, b"one", METADATA), range(8)))
    assert [one.path for one in place.open().objects()] == [PATH]


def test_a_commit_has_a_short_id_and_made_again_the_same(pictures: PictureStore) -> None:
    pictures.put(PATH, b"one", METADATA)
    first = pictures.commit("1 picture", {"pictures": "1"})
    assert 0 < len(first) <= 64
    assert pictures.commit("1 picture", {"pictures": "1"}) == first
    pictures.put(f"{DAY}/03-04-06_ab12.jpg", b"two", METADATA)
    assert pictures.commit("another picture", {"pictures": "1"}) != first


@pytest.mark.slow
@pytest.mark.parametrize("call", [*_CALLS, "objects", "commit", "check"])
def test_a_store_that_is_away_is_unavailable_and_usable_when_it_is_back(
    place: PicturePlace, call: str
) -> None:
    pictures = place.open()
    pictures.put(PATH, b"one", METADATA)
    calls: dict[str, Callable[[], Any]] = {
        "objects": lambda: list(pictures.objects()),
        "commit": lambda: pictures.commit("", {}),
        "check": pictures.check,
    }
    with place.away(), pytest.raises(PicturesUnavailable) as caught:
        calls.get(call, lambda: _CALLS[call](pictures, PATH))()
    assert not isinstance(caught.value, PictureNotFound | PathTaken)
    assert caught.value.transient
    pictures.check()
    assert pictures.get(PATH) == b"one"


@pytest.mark.parametrize("call", [*_CALLS, "check"])
def test_a_wrong_key_is_refused_and_not_shown(remote_place: PicturePlace, call: str) -> None:
    if not remote_place.checks_keys:
        pytest.skip(f"no key is checked at {remote_place.location}")
    pictures = remote_place.open_with_key("wrong-secret-7f3a")
    with pytest.raises(PicturesUnavailable, match="refuses the access key") as caught:
        _CALLS.get(call, lambda pictures, _: pictures.check())(pictures, PATH)
    assert "wrong-secret-7f3a" not in repr(caught.value) + repr(vars(pictures))
