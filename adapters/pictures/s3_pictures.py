"""Pictures in S3-compatible storage, by obstore. Needs okawari[s3]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

import obstore
from obstore import exceptions
from obstore.store import S3Store

from adapters.pictures.commit_hash import commit_hash
from adapters.pictures.object_paths import checked_path, checked_prefix, header_texts
from adapters.pictures.picture_options import PictureOptions
from lineage.errors import PathTaken, PictureNotFound, PicturesUnavailable
from lineage.picture_store import StoredObject

#: How often a call is repeated that the network or the server broke.
_RETRIES = 2
#: How often a picture is put anew whose path was taken by an upload that came to nothing.
_ATTEMPTS = 3
_LISTED_AT_ONCE = 1000
#: No picture lies below: it is listed to see whether the bucket answers.
_NOTHING = "okawari-check"
#: Obstore has an error of its own for a refused key, but not where it lists.
_REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


class S3Pictures:
    """The `PictureStore` of a bucket, or of what lies in it under a prefix.

    A commit makes nothing more lasting than it was: its id is the hash of its message and metadata.
    """

    def __init__(self, bucket: str, prefix: str, options: PictureOptions) -> None:
        """Ask nothing yet. Raises `BadPicturePlace` for an odd prefix."""
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")
        self._options = options
        self._store = S3Store(
            bucket,
            prefix=checked_path(prefix) if prefix else None,
            endpoint=options.endpoint,
            region=options.region,
            # Without a key the environment's or the machine's own is used.
            access_key_id=options.access_key or None,
            secret_access_key=options.secret_key or None,
            client_options={
                "allow_http": options.allow_http,
                "timeout": timedelta(seconds=options.seconds),
                "connect_timeout": timedelta(seconds=min(options.seconds, 3)),
            },
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=options.seconds),
            },
        )

    def put(self, path: str, data: bytes, metadata: Mapping[str, str]) -> None:
        checked_path(path)
        with self._explained():
            for _ in range(_ATTEMPTS):
                # In one part: a condition on several is checked only at the end.
                with suppress(exceptions.AlreadyExistsError, exceptions.PreconditionError):
                    attributes = header_texts(metadata)
                    obstore.put(
                        self._store, path, data, attributes=attributes, mode="create", use_multipart=False
                    )
                    return
                with suppress(PictureNotFound):
                    if self.get(path) != data:
                        raise PathTaken(f"another picture lies at {path} in {self.name}")
                    return
        raise PicturesUnavailable(f"{self.name} neither stores {path} nor has it")

    def replace(self, path: str, data: bytes) -> None:
        with self._explained():
            obstore.put(self._store, checked_path(path), data, use_multipart=False)

    def get(self, path: str) -> bytes:
        checked_path(path)
        with self._explained(path):
            return bytes(obstore.get(self._store, path).bytes())

    def delete(self, paths: Iterable[str]) -> None:
        with self._explained():
            obstore.delete(self._store, [checked_path(path) for path in paths])

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        folder = checked_prefix(prefix).rpartition("/")[0]
        with self._explained():
            for chunk in obstore.list(self._store, folder or None, chunk_size=_LISTED_AT_ONCE):
                for meta in chunk:
                    if meta["path"].startswith(prefix):
                        yield StoredObject(meta["path"], meta["size"], meta["last_modified"])

    def commit(self, message: str, metadata: Mapping[str, str]) -> str:
        self.check()
        return commit_hash(message, metadata)

    def check(self) -> None:
        with self._explained():
            for _ in obstore.list(self._store, _NOTHING):
                return

    def close(self) -> None:
        pass

    @contextmanager
    def _explained(self, path: str = "") -> Iterator[None]:
        """What the storage refuses becomes `PicturesUnavailable`, with its reason in one line."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            if path and isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise PictureNotFound(f"nothing lies at {path} in {self.name}") from None
            raise PicturesUnavailable(f"{self.name} cannot be used: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        text = str(error)
        if "NoSuchBucket" in text:
            return "there is no such bucket"
        if _REFUSED.search(text):
            return "it refuses the access key"
        if code := _CODE.search(text):
            return f"it answers {code[1]}"
        for secret in filter(None, (self._options.secret_key, self._options.access_key)):
            text = text.replace(secret, "***")
        return text.strip().partition("\n")[0][:300]
