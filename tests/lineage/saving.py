"""What the processes of a race do that save the same hand-ins; spawned by `test_records_database.py`."""

from __future__ import annotations

from contextlib import closing
from multiprocessing import Queue
from multiprocessing.synchronize import Barrier

from adapters.records import open_records
from tests.support.captures import a_capture, a_record, something

HAND_INS = 120


def save_all(url: str, start: Barrier, told: Queue[list[str]]) -> None:
    """Open the records when all are there, save each hand-in, and tell whose record stands."""
    start.wait(60)
    with closing(open_records(url)) as records:
        found = []
        for count in range(HAND_INS):
            record = a_record(a_capture(count), found=(something(), something()))
            found.append(records.save(record).found[0].id.hex)
    told.put(found)
