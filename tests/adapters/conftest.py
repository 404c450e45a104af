"""The picture stores: a folder, a bucket of an S3 server, a branch of lakeFS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.picture_store import PictureStore
from tests.support.lakefs_server import LakefsServer, real_place, running_lakefs
from tests.support.picture_places import PicturePlace, folder_place
from tests.support.s3_server import S3Server, s3_server

__all__ = ["s3_server"]

#: The S3 server may have to be built first.
_S3 = pytest.param("s3", marks=(pytest.mark.process, pytest.mark.timeout(300)))


@pytest.fixture(params=["folder", _S3, "lakefs"])
def place(request: pytest.FixtureRequest) -> PicturePlace:
    """An empty place for pictures."""
    found: PicturePlace = request.getfixturevalue(f"{request.param}_pictures")
    return found


@pytest.fixture(params=[_S3, "lakefs"])
def remote_place(request: pytest.FixtureRequest) -> PicturePlace:
    """An empty place behind a server that checks keys."""
    found: PicturePlace = request.getfixturevalue(f"{request.param}_pictures")
    return found


@pytest.fixture
def pictures(place: PicturePlace) -> PictureStore:
    """The store there."""
    return place.open()


@pytest.fixture
def folder_pictures(tmp_path: Path) -> Iterator[PicturePlace]:
    """A folder."""
    with closing(folder_place(tmp_path / "pictures")) as place:
        yield place


@pytest.fixture
def s3_pictures(s3_server: S3Server) -> Iterator[PicturePlace]:
    """A bucket."""
    with closing(s3_server.place()) as place:
        yield place


@pytest.fixture
def lakefs_server() -> Iterator[LakefsServer]:
    """A double of lakeFS."""
    with running_lakefs() as server:
        yield server


@pytest.fixture
def lakefs_pictures(request: pytest.FixtureRequest) -> Iterator[PicturePlace]:
    """A branch of the lakeFS at `LAKEFS_ENDPOINT`, else of a double."""
    endpoint = os.environ.get("LAKEFS_ENDPOINT")
    server = None if endpoint else request.getfixturevalue("lakefs_server")
    with closing(real_place(endpoint) if endpoint else server.place()) as place:
        yield place
