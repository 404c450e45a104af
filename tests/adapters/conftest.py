"""The picture stores: a folder, a bucket of an S3 server, a branch of lakeFS."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.picture_store import PictureStore
from tests.support.picture_places import PicturePlace, folder_place


@pytest.fixture(params=["folder"])
def place(request: pytest.FixtureRequest) -> PicturePlace:
    """An empty place for pictures."""
    found: PicturePlace = request.getfixturevalue(f"{request.param}_pictures")
    return found


@pytest.fixture
def pictures(place: PicturePlace) -> PictureStore:
    """The store there."""
    return place.open()


@pytest.fixture
def folder_pictures(tmp_path: Path) -> PicturePlace:
    """A folder."""
    return folder_place(tmp_path / "pictures")
