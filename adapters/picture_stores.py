"""The picture store opened by the path of a folder or the URL of an object store."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from adapters.pictures.folder_pictures import FolderPictures
from adapters.pictures.picture_options import PictureOptions
from lineage.errors import BadPicturePlace, PicturesUnavailable
from lineage.picture_store import PictureStore

_ALLOWED = "allowed are the path of a folder, s3://bucket/prefix and lakefs://repository/branch"
_NONE = PictureOptions()


def open_pictures(
    location: str | Path, options: PictureOptions = _NONE, may_make: Callable[[], bool] | None = None
) -> PictureStore:
    """The store at PATH, s3://bucket/prefix or lakefs://repository/branch; a folder is made where absent.

    With `may_make` a folder is not touched before its first use, and made only where that says so.

    Raises `BadPicturePlace` for another URL or an endpoint that does not fit, and `PicturesUnavailable` when
    the folder cannot be made or okawari[s3] is not installed. An object store is asked when it is used.
    """
    if "://" not in str(location):
        return FolderPictures(Path(location), may_make)
    url = urlsplit(str(location))
    if url.scheme not in ("s3", "lakefs") or not url.netloc or "@" in url.netloc or url.query or url.fragment:
        # The text is not shown: it may hold a password.
        raise BadPicturePlace(f"the place of the pictures cannot be read; {_ALLOWED}")
    _check_endpoint(options)
    return (_s3 if url.scheme == "s3" else _lakefs)(url.netloc, url.path.strip("/"), options)


def _check_endpoint(options: PictureOptions) -> None:
    if options.endpoint is None:
        return
    url = urlsplit(options.endpoint)
    if url.scheme not in ("http", "https") or not url.netloc or "@" in url.netloc:
        raise BadPicturePlace(
            "the endpoint of the pictures must be https://host or http://host, without a key"
        )
    if url.scheme == "http" and not options.allow_http:
        raise BadPicturePlace("the endpoint of the pictures is plain HTTP, which allow_http must permit")


def _s3(bucket: str, prefix: str, options: PictureOptions) -> PictureStore:
    if find_spec("obstore") is None:
        raise PicturesUnavailable("pictures in S3 need one more package: install okawari[s3]")
    from adapters.pictures.s3_pictures import S3Pictures

    return S3Pictures(bucket, prefix, options)


def _lakefs(repository: str, branch: str, options: PictureOptions) -> PictureStore:
    from adapters.pictures.lakefs_pictures import LakefsPictures

    return LakefsPictures(repository, branch, options)
