"""Where pictures may lie, and how a place that cannot be is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.picture_stores import open_pictures
from adapters.pictures.picture_options import PictureOptions
from lineage.errors import BadPicturePlace, PicturesUnavailable

SECRET_KEY = "not-to-be-seen-5d1c"


def test_without_obstore_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(PicturesUnavailable, match=r"okawari\[s3\]"):
        open_pictures("s3://bucket")


@pytest.mark.slow
def test_nothing_listens_there() -> None:
    options = PictureOptions("http://127.0.0.1:9", "key", SECRET_KEY, allow_http=True, seconds=0.5)
    with pytest.raises(PicturesUnavailable) as caught:
        open_pictures("s3://bucket", options).check()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("ftp://host/x", PictureOptions()),
        ("s3://", PictureOptions()),
        (f"s3://key:{SECRET_KEY}@bucket", PictureOptions()),
        ("s3://bucket/../x", PictureOptions()),
        (f"s3://bucket?secret={SECRET_KEY}", PictureOptions()),
        ("s3://bucket", PictureOptions("http://host")),
        ("s3://bucket", PictureOptions(f"https://key:{SECRET_KEY}@host")),
        ("s3://bucket", PictureOptions("host:9000")),
        ("lakefs://repository/main", PictureOptions()),
        ("lakefs://repository", PictureOptions("https://host")),
        ("lakefs://Repository/main", PictureOptions("https://host")),
        ("lakefs://repository/a..b", PictureOptions("https://host")),
    ],
)
def test_an_odd_place_is_refused_without_showing_its_secrets(location: str, options: PictureOptions) -> None:
    with pytest.raises(BadPicturePlace) as caught:
        open_pictures(location, replace(options, secret_key=SECRET_KEY))
    assert SECRET_KEY not in caught.value.message
    assert not caught.value.transient


def test_options_do_not_show_their_keys() -> None:
    assert SECRET_KEY not in repr(PictureOptions(access_key=SECRET_KEY, secret_key=SECRET_KEY))


def test_a_folder_that_should_hold_pictures_is_not_made_anew(tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    mounted = open_pictures(place, may_make=lambda: True)
    assert not place.exists()
    mounted.put("images/a.jpg", b"a", {})
    place.rename(tmp_path / "away")
    place.mkdir()
    unmounted = open_pictures(place, may_make=lambda: False)
    for act in (
        lambda: unmounted.put("images/b.jpg", b"b", {}),
        lambda: unmounted.replace("images/b.json", b"b"),
        lambda: unmounted.get("images/a.jpg"),
        lambda: list(unmounted.objects()),
        unmounted.check,
    ):
        with pytest.raises(PicturesUnavailable, match="mounted"):
            act()
    assert list(place.iterdir()) == []
