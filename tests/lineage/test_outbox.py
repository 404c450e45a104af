"""The outbox: what is in it survives its writer, and is found by whoever looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lineage.errors import PicturesUnavailable, StorageFull
from lineage.outbox import Outbox
from tests.lineage.hand_ins import capture, data, record
from tests.support.stopped_calls import Killed, StopAt


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """An empty outbox."""
    return Outbox(tmp_path / "outbox", most=3)


def test_an_entry_is_read_as_it_was_written(outbox: Outbox) -> None:
    outbox.write(record(1), data(1))
    entry = outbox.read(record(1).image_id)
    assert entry is not None
    assert (entry.record, entry.accepted) == (record(1), True)
    assert outbox.picture(record(1).image_id) == data(1)


def test_a_note_without_bytes_answers_no_retry(outbox: Outbox) -> None:
    outbox.write(record(1))
    entry = outbox.read(record(1).image_id)
    assert entry is not None
    assert not entry.accepted
    assert outbox.find(capture(1)) is None


def test_an_accepted_one_is_found_by_its_bytes_and_moment_or_by_its_key(outbox: Outbox) -> None:
    outbox.write(record(1), data(1))
    with_key = record(taken=capture(2, key="k"))
    outbox.write(with_key, data(2))
    assert outbox.find(capture(1)) == record(1)
    assert outbox.find(capture(9, key="k")) == with_key
    assert outbox.find(capture(9, device="camera-2", key="k")) is None
    assert outbox.find(capture(9)) is None


def test_a_removed_one_leaves_nothing(outbox: Outbox, tmp_path: Path) -> None:
    taken = record(taken=capture(2, key="k"))
    outbox.write(taken, data(2))
    outbox.remove(taken)
    assert outbox.find(capture(2, key="k")) is None
    assert outbox.length() == 0
    assert outbox.oldest() is None
    left = [path for path in (tmp_path / "outbox").rglob("*") if path.is_file()]
    assert left == []


def test_who_dies_while_it_removes_one_leaves_no_record_without_its_bytes(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.write(record(1), data(1))
    stop, unlink = StopAt(1, after=True), Path.unlink

    def stopping(path: Path, missing_ok: bool = False) -> None:
        stop.around(path.suffix, lambda: unlink(path, missing_ok))

    monkeypatch.setattr(Path, "unlink", stopping)
    with pytest.raises(Killed):
        outbox.remove(record(1))
    monkeypatch.undo()
    assert outbox.read(record(1).image_id) is None
    outbox.tidy()
    assert list((tmp_path / "outbox" / "entries").iterdir()) == []


def test_entries_come_in_the_order_in_which_they_were_accepted(outbox: Outbox, tmp_path: Path) -> None:
    order = [record(number).image_id for number in (3, 1, 2)]
    for moment, number in enumerate((3, 1, 2)):
        outbox.write(record(number), data(number))
        # The clock of a file system may stand still between two writes.
        note = tmp_path / "outbox" / "entries" / f"{record(number).image_id.hex}.json"
        os.utime(note, ns=(moment, moment))
    assert outbox.entries() == order


def test_a_full_outbox_accepts_no_more_and_lets_what_is_in_it_be_rewritten(outbox: Outbox) -> None:
    for number in (1, 2, 3):
        outbox.write(record(number), data(number))
    with pytest.raises(StorageFull):
        outbox.write(record(4), data(4))
    outbox.write(record(3, version="v2"), data(3))
    assert outbox.length() == 3


def test_bytes_whose_writer_died_before_its_record_are_removed(outbox: Outbox, tmp_path: Path) -> None:
    outbox.write(record(1), data(1))
    half = tmp_path / "outbox" / "entries" / f"{record(2).image_id.hex}.picture"
    half.write_bytes(data(2))
    outbox.tidy()
    assert not half.exists()
    assert outbox.picture(record(1).image_id) == data(1)


def test_a_torn_record_is_none(outbox: Outbox, tmp_path: Path) -> None:
    outbox.write(record(1), data(1))
    (tmp_path / "outbox" / "entries" / f"{record(1).image_id.hex}.json").write_text("{")
    assert outbox.read(record(1).image_id) is None


def test_two_writers_of_one_picture_take_turns(outbox: Outbox) -> None:
    with outbox.turn(record(1).image_id), pytest.raises(TimeoutError), outbox.turn(record(1).image_id, 0.0):
        pass


def test_a_folder_that_cannot_be_written_refuses_the_picture(outbox: Outbox, tmp_path: Path) -> None:
    entries = tmp_path / "outbox" / "entries"
    entries.rmdir()
    entries.write_text("a file")
    with pytest.raises(PicturesUnavailable):
        outbox.write(record(1), data(1))
