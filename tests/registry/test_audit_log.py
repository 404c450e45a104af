"""What every store of the audit log promises, also when its writers are many, or killed."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from registry.audit import EVERY, AuditDamaged, AuditedDecision, AuditLog, AuditStore, Record
from registry.audit_check import verify
from registry.audit_file import AuditFile
from registry.audit_key import AuditKey, BadKey, fingerprint, read_public
from tests.registry.audit_logs import (
    Place,
    append_until_killed,
    close_all,
    lines_of,
    opened,
    rewrite,
    switch,
    verified,
)
from tests.support.audit_memory import AuditMemory

WRITERS, RECORDS = 4, 60
NOW = datetime(2026, 11, 29, 12, 0, 0, 5, UTC)


_DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.process)]


@pytest.fixture(params=["memory", "file", *_DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AuditStore]:
    made: AuditStore = AuditMemory()
    if request.param != "memory":
        made = _place(request, request.param, tmp_path).store
    yield made
    close_all()


@pytest.fixture(params=["file", *_DATABASES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty log that several processes may open."""
    yield _place(request, request.param, tmp_path)
    close_all()


def _place(request: pytest.FixtureRequest, kind: str, folder: Path) -> Place:
    return Place(folder, None if kind == "file" else request.getfixturevalue(f"{kind}_place"))


@pytest.fixture
def log(store: AuditStore, tmp_path: Path) -> AuditLog:
    return AuditLog(store, AuditKey(tmp_path), now=lambda: NOW)


def test_a_record_says_who_did_what_when_and_why(log: AuditLog, store: AuditStore) -> None:
    decision = AuditedDecision(
        "target", "m", "ann", "better boxes", "latest", "v2", {"v2": "sha256:2"}, "done", "t/1"
    )
    stored = log.record(decision)
    assert stored is not None
    assert list(store.read()) == [stored] == [store.last()]
    facts = stored.model_dump(exclude={"hash", "previous", "key", "signature"})
    assert facts == {
        "sequence": 1,
        "time": "2026-11-29T12:00:00.000005+00:00",
        "action": "target",
        "actor": "ann",
        "reason": "better boxes",
        "model": "m",
        "before": "latest",
        "after": "v2",
        "digests": {"v2": "sha256:2"},
        "outcome": "done",
        "source": "t/1",
    }


def test_each_record_is_chained_to_the_one_before(log: AuditLog, store: AuditStore) -> None:
    first, second = log.record(switch(1)), log.record(switch(2))
    assert first is not None
    assert second is not None
    assert (first.sequence, first.previous, second.sequence, second.previous) == (1, "0" * 64, 2, first.hash)


def test_a_decision_that_is_reported_again_is_stored_once(log: AuditLog, store: AuditStore) -> None:
    assert log.record(switch(1)) is not None
    assert log.record(switch(2)) is not None
    assert log.record(switch(1, outcome="told by another worker")) is None
    assert log.record(switch(3, source=None)) is not None
    assert log.record(switch(3, source=None)) is not None
    assert [entry.source for entry in store.read() if isinstance(entry, Record)] == [
        "switch/m/1",
        "switch/m/2",
        None,
        None,
    ]


@pytest.mark.slow
def test_checkpoints_stand_at_every_hundredth_record_and_after_promotions_and_rollbacks(
    log: AuditLog, store: AuditStore, tmp_path: Path
) -> None:
    for number in range(2 * EVERY):
        log.record(switch(number))
    log.record(AuditedDecision("promotion", "m"))
    log.record(AuditedDecision("rollback", "m"))
    signed = [entry for entry in store.read() if isinstance(entry, Record) and entry.action == "checkpoint"]
    assert [record.sequence for record in signed] == [100, 200, 204, 206]
    key = read_public(tmp_path / "audit.pub")
    assert {record.key for record in signed} == {fingerprint(key)}
    assert AuditKey(tmp_path).kept() == signed[-1]
    assert verify(store, {fingerprint(key): key}).sequence == 206


def test_reading_begins_where_it_is_asked_to(log: AuditLog, store: AuditStore) -> None:
    for number in range(5):
        log.record(switch(number))
    assert [entry.sequence for entry in store.read(4) if isinstance(entry, Record)] == [4, 5]
    assert list(store.read(6)) == []


def test_texts_of_callers_are_bounded_and_printable(log: AuditLog, store: AuditStore) -> None:
    stored = log.record(switch(1, reason="a\n\x1b[31m\udcff" + "ä" * 5000))
    assert stored is not None
    assert stored.reason is not None
    assert (stored.reason.isprintable(), len(stored.reason)) == (True, 1000)
    assert store.last() == stored


def test_what_a_process_has_stored_is_known_to_the_next_one(place: Place) -> None:
    opened(place).record(switch(1))
    one, other = opened(replace(place)), opened(replace(place))
    assert one.record(switch(1)) is None
    assert one.record(switch(2)) is not None
    assert other.record(switch(2)) is None
    assert len(lines_of(place)) == 2


def test_several_decisions_are_stored_in_one_step_and_each_once(log: AuditLog, store: AuditStore) -> None:
    log.record(switch(1))
    stored = log.record_each([switch(1), switch(2), AuditedDecision("promotion", "m"), switch(2), switch(3)])
    assert [record and record.sequence for record in stored] == [None, 2, 3, None, 5]
    actions = [entry.action for entry in store.read() if isinstance(entry, Record)]
    assert actions == ["switch", "switch", "promotion", "checkpoint", "switch"]


@pytest.mark.parametrize("left", [1, 40, -1], ids=["one byte", "some bytes", "all but the end"])
def test_a_torn_last_line_is_cut_off_once_and_said_once(
    tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        opened(tmp_path).record(switch(number))
    lines = lines_of(tmp_path)
    # Longer than what is written over it.
    torn = (b"\0" * 5000 + lines[2])[:left]
    rewrite(tmp_path, [*lines[:2], torn])
    assert [entry.sequence for entry in AuditFile(tmp_path).read() if isinstance(entry, Record)] == [1, 2]
    assert verify(AuditFile(tmp_path), {}).sequence == 2
    with caplog.at_level(logging.WARNING, "bentoml.okawari.registry"):
        log = opened(tmp_path)
        # It was never acknowledged, so that it is not known.
        stored = log.record(switch(2))
        log.record(switch(3))
    assert stored is not None
    assert stored.sequence == 3
    assert [record.args for record in caplog.records] == [
        (AuditFile(tmp_path).path, len(torn)),
    ]
    assert len(lines_of(tmp_path)) == 4


def test_a_promotion_whose_writer_died_before_its_checkpoint_gets_it_next(tmp_path: Path) -> None:
    opened(tmp_path).record(AuditedDecision("promotion", "m"))
    rewrite(tmp_path, lines_of(tmp_path)[:1])
    opened(tmp_path).record(switch(1))
    actions = [json.loads(line)["action"] for line in lines_of(tmp_path)]
    assert actions == ["promotion", "checkpoint", "switch"]
    assert verified(tmp_path).sequence == 3


def test_nothing_is_chained_to_a_last_line_that_is_no_record(place: Place) -> None:
    opened(place).record(switch(1))
    rewrite(place, damaged := [*lines_of(place), b"{}\n"])
    with pytest.raises(AuditDamaged, match=r"--verify"):
        opened(place).record(switch(2))
    assert lines_of(place) == damaged


def test_a_log_that_was_moved_away_begins_anew(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.record(switch(1))
    AuditFile(tmp_path).path.rename(tmp_path / "old.jsonl")
    stored = log.record(switch(1))
    assert stored is not None
    assert stored.sequence == 1


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    for _ in range(2):
        AuditKey(tmp_path / "state").prepare()
    key = tmp_path / "state" / "audit.key"
    before = key.read_bytes()
    AuditKey(tmp_path / "state").prepare()
    assert (stat.S_IMODE(key.stat().st_mode), key.read_bytes()) == (0o600, before)
    assert sorted(path.name for path in key.parent.iterdir()) == ["audit.key", "audit.pub"]


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_broken_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "audit.key").write_bytes(content)
    (tmp_path / "audit.pub").write_bytes(content)
    with pytest.raises(BadKey, match=r"audit\.key"):
        AuditKey(tmp_path).prepare()
    with pytest.raises(BadKey, match=r"audit\.pub"):
        read_public(tmp_path / "audit.pub")


def append_some(place: Place, name: str, start: Barrier) -> None:
    """What another process does: half of its decisions are those of all."""
    log = opened(place)
    start.wait(20)
    for number in range(RECORDS):
        log.record(AuditedDecision("switch", model=name, source=f"own/{name}/{number}"))
        log.record(AuditedDecision("promotion" if number == 7 else "alias", source=f"shared/{number}"))


@pytest.mark.process
@pytest.mark.timeout(60)
def test_of_processes_that_append_at_once_none_loses_anything(place: Place) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(WRITERS)
    writers = [spawn.Process(target=append_some, args=(place, f"w{n}", start)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(50)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    sources = [source for line in lines_of(place) if (source := json.loads(line)["source"])]
    own = {f"own/w{n}/{number}" for n in range(WRITERS) for number in range(RECORDS)}
    assert sorted(sources) == sorted(own | {f"shared/{number}" for number in range(RECORDS)})
    assert verified(place).sequence == len(lines_of(place))


@pytest.mark.process
@pytest.mark.timeout(60)
def test_writers_that_are_killed_lose_nothing_that_was_acknowledged(place: Place) -> None:
    chance = random.Random(18)
    told: set[int] = set()
    for round_ in range(6):
        reader, writer = os.pipe()
        pair = [_forked(replace(place), f"w{round_}-{n}", writer) for n in range(2)]
        os.close(writer)
        with os.fdopen(reader, "rb") as acknowledged:
            for _ in range(chance.randrange(5, 40)):
                told.add(int(acknowledged.readline()))
            for pid in pair:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            told |= {int(line) for line in acknowledged if line.endswith(b"\n")}
    opened(place).record(switch(1))
    stored = {json.loads(line)["sequence"] for line in lines_of(place)}
    assert told <= stored
    assert verified(place).sequence == len(stored)


def _forked(place: Place, name: str, acknowledged: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            append_until_killed(place, name, acknowledged)
        finally:
            os._exit(1)
    return pid
