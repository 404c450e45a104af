"""Pictures in S3: what only a bucket can show."""

from __future__ import annotations

import obstore
import pytest
from obstore.store import S3Store

from adapters.picture_stores import open_pictures
from lineage.errors import PicturesUnavailable
from tests.support.picture_places import PicturePlace

PATH = "images/cam-1/2026-01-02/03-04-05_ab12.jpg"
pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


def test_metadata_lies_on_the_object(s3_pictures: PicturePlace) -> None:
    s3_pictures.open().put(PATH, b"one", {"Device_ID": "cam-1", "filename": "Vögel 100%.jpg"})
    options = s3_pictures.options
    bucket = S3Store(
        s3_pictures.location.split("/")[2],
        endpoint=options.endpoint,
        region=options.region,
        access_key_id=options.access_key,
        secret_access_key=options.secret_key,
        client_options={"allow_http": True},
    )
    attributes = obstore.get(bucket, f"cameras/{PATH}").attributes
    assert attributes["device-id"] == "cam-1"
    assert attributes["filename"] == "V%C3%B6gel 100%25.jpg"


def test_prefixes_of_one_bucket_are_stores_of_their_own(s3_pictures: PicturePlace) -> None:
    other = open_pictures(s3_pictures.location.replace("/cameras", "/other/place"), s3_pictures.options)
    s3_pictures.open().put(PATH, b"one", {})
    other.put(PATH, b"two", {})
    assert s3_pictures.open().get(PATH) == b"one"
    assert [one.path for one in other.objects()] == [PATH]


@pytest.mark.parametrize("bucket", ["no-such-bucket"])
def test_a_bucket_that_is_not_there_is_no_missing_picture(s3_pictures: PicturePlace, bucket: str) -> None:
    pictures = open_pictures(f"s3://{bucket}", s3_pictures.options)
    for call in (pictures.check, lambda: pictures.get(PATH), lambda: pictures.put(PATH, b"", {})):
        with pytest.raises(PicturesUnavailable, match="no such bucket") as caught:
            call()
        assert type(caught.value) is PicturesUnavailable
