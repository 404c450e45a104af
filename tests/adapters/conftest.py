"""The picture stores: a folder, a bucket of an S3 server, a branch of lakeFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.picture_store import PictureStore
from scripts import clients
from tests.support.picture_places import PicturePlace, folder_place
from tests.support.s3_server import S3Server, running_s3

#: The S3 server may have to be built first.
_S3 = pytest.param("s3", marks=(pytest.mark.process, pytest.mark.timeout(300)))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server for all tests of this process."""
    try:
        with running_s3() as server:
            yield server
    except clients.Unavailable as error:
        pytest.skip(f"no S3 server: {error}")


@pytest.fixture(params=["folder", _S3])
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


@pytest.fixture
def s3_pictures(s3_server: S3Server) -> PicturePlace:
    """A bucket."""
    return s3_server.place()
