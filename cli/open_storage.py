"""The records and pictures of the settings, as commands use them; neither is made where it is absent."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import Refused
from cli.output import settings
from lineage.picture_store import PictureStore
from lineage.retention import RetentionRules
from settings import Settings

if TYPE_CHECKING:
    from adapters.sql.database import Database
    from adapters.sql.sql_records import SqlRecords


@dataclass(frozen=True, slots=True)
class OpenStorage:
    """Records and pictures that belong together, with the rules of the configuration."""

    records: SqlRecords
    pictures: PictureStore
    rules: RetentionRules


@contextmanager
def open_database() -> Iterator[Database]:
    """The database of the records. Raises `Refused` where its file is not there."""
    with _records(settings()) as records:
        yield records.database


@contextmanager
def open_storage() -> Iterator[OpenStorage]:
    """Records and pictures. Raises `Refused` where a file or a folder of them is not there."""
    from adapters.picture_stores import open_pictures
    from detection import picture_options

    configured = settings()
    with _records(configured) as records:
        location = configured.pictures_location
        if "://" not in location and not Path(location).is_dir():
            raise Refused(f"the picture folder {location} is not there: is its disk mounted?")
        limits = configured.detection.storage
        rules = RetentionRules.configured(
            limits.retention_days, limits.max_total_gb, limits.warning_threshold_gb
        )
        with closing(open_pictures(location, picture_options(configured))) as pictures:
            yield OpenStorage(records, pictures, rules)


def holder() -> str:
    """The name of this process among all that may clean."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def _records(configured: Settings) -> Iterator[SqlRecords]:
    from adapters.records import open_records, sqlite_file

    url = configured.database_url
    with closing(open_records(url, create=False)) as records:
        file = sqlite_file(url)
        if file is not None and not file.is_file():
            raise Refused(
                f"there are no records in {file}: no picture was accepted yet, or set OKAWARI_DATABASE"
            )
        yield records
