"""Whatever is done to a log, in a file or a database, the verification names what, and the first record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.sql import schema
from registry.audit import AuditedDecision, Head
from registry.audit_check import Tampered
from registry.audit_key import AuditKey
from tests.registry.audit_logs import (
    Place,
    close_all,
    edited,
    forged,
    lines_of,
    opened,
    rewrite,
    switch,
    verified,
)
from tests.support.postgres import PostgresServer

DECISIONS = 340
Lines = list[bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of some hundred records, with its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    log = opened(folder)
    for number in range(DECISIONS):
        log.record(AuditedDecision("promotion", "m", "ann") if number == 120 else switch(number))
    return folder


@pytest.fixture(scope="module")
def postgresql_url(postgres: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database with its tables, for one test after the other."""
    with postgres.database() as url:
        schema.upgrade(url)
        yield url


@pytest.fixture(scope="module")
def whole_database(whole: Path, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole log in SQLite."""
    path = Path(shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("whole") / "audit.db"))
    rewrite(Place(whole, f"sqlite:///{path}"), lines_of(whole))
    close_all()
    return path


@pytest.fixture(params=["file", "sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def log(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of the whole log."""
    folder = Path(shutil.copytree(whole, tmp_path / "state"))
    log = Place(folder)
    if request.param == "sqlite":
        log = Place(folder, f"sqlite:///{shutil.copy(request.getfixturevalue('whole_database'), tmp_path)}")
    elif request.param == "postgresql":
        log = Place(folder, request.getfixturevalue("postgresql_url"))
        rewrite(log, lines_of(folder))
    yield log
    close_all()


def found(log: Place, *heads: Head) -> tuple[str, int]:
    """What the verification names."""
    with pytest.raises(Tampered) as caught:
        verified(log, *heads)
    return caught.value.kind, caught.value.sequence


@pytest.mark.slow
def test_a_whole_log_is_whole_and_its_head_is_its_last_record(log: Place) -> None:
    lines = lines_of(log)
    last = json.loads(lines[-1])
    assert verified(log) == Head(last["sequence"], last["hash"]) == Head(len(lines), last["hash"])
    assert [n for n, line in enumerate(lines, 1) if b'"checkpoint"' in line] == [100, 123, 200, 300]


#: The first record, some in the middle, a checkpoint, the one behind it, and near the end.
PLACES = [1, 2, 57, 99, 100, 101, 122, 123, 342]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fields", [{"reason": "none"}, {"sequence": 7777}, {"previous": "f" * 64}])
def test_an_edited_record_is_named(log: Place, place: int, fields: dict[str, object]) -> None:
    lines = lines_of(log)
    lines[place - 1] = edited(lines[place - 1], **fields)
    rewrite(log, lines)
    assert found(log) == ("edited", place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line", [b"\n", b"{\n", b"\xff\xfe\n", b"[]\n", b"{" * 200_000 + b"\n"])
def test_a_line_that_is_no_record_any_more_is_named(log: Place, place: int, line: bytes) -> None:
    lines = lines_of(log)
    lines[place - 1] = line
    rewrite(log, lines)
    assert found(log) == ("edited", place)


def test_another_way_to_write_the_same_is_an_edit(log: Place) -> None:
    lines = lines_of(log)
    lines[56] = lines[56].replace(b'","', b'", "', 1)
    rewrite(log, lines)
    assert found(log) == ("edited", 57)


@pytest.mark.parametrize("place", [1, 2, 57, 101, 122, 342])
def test_an_edited_record_with_a_new_hash_is_named(log: Place, place: int) -> None:
    lines = lines_of(log)
    lines[place - 1] = forged(lines[place - 1], actor="bob")
    rewrite(log, lines)
    assert found(log) == ("edited", place)


@pytest.mark.parametrize("place", [1, 57, 101, 123, 250])
def test_a_record_edited_with_all_hashes_after_it_is_found_at_the_next_checkpoint(
    log: Place, place: int
) -> None:
    rewrite(log, _rehashed(lines_of(log), place))
    checkpoints = [100, 123, 200, 300]
    assert found(log) == ("edited", next(number for number in checkpoints if number >= place))


def _rehashed(lines: Lines, place: int) -> Lines:
    lines[place - 1] = forged(lines[place - 1], actor="bob")
    for index in range(place, len(lines)):
        lines[index] = forged(lines[index], previous=json.loads(lines[index - 1])["hash"])
    return lines


def test_behind_the_last_checkpoint_only_a_head_kept_elsewhere_tells(log: Place) -> None:
    head = verified(log)
    rewrite(log, _rehashed(lines_of(log), 320))
    assert verified(log).sequence == head.sequence
    assert found(log, head) == ("edited", head.sequence)
    assert found(log, Head(None, head.hash)) == ("cut", (head.sequence or 0) + 1)


def test_a_chain_that_was_rewritten_without_its_checkpoints_is_named(log: Place) -> None:
    lines = lines_of(log)
    lines[99] = forged(lines[99], action="alias", key=None, signature=None)
    for index in range(100, len(lines)):
        lines[index] = forged(lines[index], previous=json.loads(lines[index - 1])["hash"])
    rewrite(log, lines)
    assert found(log) == ("removed", 100)


def test_checkpoints_signed_by_another_key_are_named(log: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    opened(other).record(AuditedDecision("promotion", "m"))
    rewrite(log, lines_of(other))
    shutil.copy(AuditKey(other).checkpoint_path, log.folder)
    assert found(log) == ("edited", 2)


@pytest.mark.parametrize("place", PLACES[:-1])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_removed_record_is_named(log: Place, place: int, count: int) -> None:
    lines = lines_of(log)
    del lines[place - 1 : place - 1 + count]
    rewrite(log, lines)
    assert found(log) == ("removed", place)


def _swap(lines: Lines, place: int) -> None:
    lines[place - 1], lines[place] = lines[place], lines[place - 1]


def _to_the_end(lines: Lines, place: int) -> None:
    lines.append(lines.pop(place - 1))


def _to_the_front(lines: Lines, place: int) -> None:
    lines.insert(place - 1, lines.pop(-1))


def _backwards(lines: Lines, place: int) -> None:
    lines[place - 1 : place + 9] = lines[place - 1 : place + 9][::-1]


@pytest.mark.parametrize("place", [1, 57, 100, 123, 300])
@pytest.mark.parametrize("move", [_swap, _to_the_end, _to_the_front, _backwards])
def test_the_first_record_that_is_not_in_its_place_is_named(
    log: Place, place: int, move: Callable[[Lines, int], None]
) -> None:
    lines = lines_of(log)
    move(lines, place)
    rewrite(log, lines)
    assert found(log) == ("reordered", place)


@pytest.mark.parametrize("place", [1, 2, 57, 100, 101, 123, 342])
@pytest.mark.parametrize("origin", [1, 57, 200, 343])
def test_a_copy_of_a_record_in_another_place_is_named(log: Place, place: int, origin: int) -> None:
    lines = lines_of(log)
    lines.insert(place - 1, lines[origin - 1])
    rewrite(log, lines)
    # A copy right before its origin: which of two equal lines is the copy cannot be told.
    assert found(log) == ("inserted", place + (origin == place))


@pytest.mark.parametrize("place", [2, 57, 101, 342])
@pytest.mark.parametrize("chained", [True, False])
def test_a_forged_record_between_others_is_named(log: Place, place: int, chained: bool) -> None:
    lines = lines_of(log)
    previous = json.loads(lines[place - 2])["hash"] if chained else "e" * 64
    lines.insert(place - 1, forged(lines[place - 1], actor="bob", previous=previous))
    rewrite(log, lines)
    assert found(log) == ("inserted", place)


@pytest.mark.parametrize("place", [2, 57, 101, 342])
def test_a_line_that_was_put_in_and_is_no_record_is_named(log: Place, place: int) -> None:
    lines = lines_of(log)
    lines.insert(place - 1, b"{}\n")
    rewrite(log, lines)
    assert found(log) == ("inserted", place)


@pytest.mark.parametrize("length", [0, 1, 122, 299])
def test_a_tail_that_was_cut_before_the_last_checkpoint_is_named_without_help(
    log: Place, length: int
) -> None:
    rewrite(log, lines_of(log)[:length])
    assert found(log) == ("cut", length + 1)


@pytest.mark.parametrize("length", [301, 343])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_tail_that_was_cut_later_is_named_against_a_head(log: Place, length: int, numbered: bool) -> None:
    head = verified(log)
    rewrite(log, lines_of(log)[:length])
    assert verified(log).sequence == length
    assert found(log, head if numbered else Head(None, head.hash)) == ("cut", length + 1)


def test_a_log_that_has_grown_since_a_head_was_kept_is_whole(log: Place) -> None:
    head = verified(log)
    opened(log).record(switch(DECISIONS))
    assert verified(log, head, Head(None, head.hash)).sequence == (head.sequence or 0) + 1
