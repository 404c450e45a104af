"""The desired state on disk, shared by processes, and what happens when the file is damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from hotswap.desired import DesiredState, record_serving, seed, set_target, settle_default
from registry.file_store import DesiredFile, StateDamaged

EDITS = 40


def edit_on(home: Path, name: str, start: Barrier) -> None:
    """What another process does."""
    store = DesiredFile(home)
    start.wait(10)
    for number in range(EDITS):
        store.edit(set_target(name, f"v{number}", name, None))


@pytest.mark.process
@pytest.mark.timeout(30)
def test_of_two_processes_that_edit_at_once_neither_loses_anything(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    other = spawn.Process(target=edit_on, args=(tmp_path, "bob", start))
    other.start()
    edit_on(tmp_path, "ann", start)
    other.join(20)
    document = DesiredFile(tmp_path).read()
    assert (other.exitcode, document.revision) == (0, 2 * EDITS)
    assert {name: wish.target for name, wish in document.models.items()} == {"ann": "v39", "bob": "v39"}


def test_what_one_wrote_the_other_reads_and_a_restart_too(tmp_path: Path) -> None:
    one, other = DesiredFile(tmp_path), DesiredFile(tmp_path)
    assert other.read() == DesiredState()
    for number in range(1, 4):
        one.edit(set_target("a", f"v{number}", "ann", None))
        assert other.read().models["a"].target == f"v{number}"
    assert DesiredFile(tmp_path).read() == other.read()


def test_a_file_replaced_by_one_with_the_same_inode_time_and_size_is_read_anew(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    store.edit(set_target("a", "v1", "ann", None))
    store.read()
    before = store.path.stat()
    store.path.write_bytes(store.path.read_bytes().replace(b'"v1"', b'"v2"'))
    os.utime(store.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = store.path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_size,
    )
    assert store.read().models["a"].target == "v2"


def test_an_edit_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    store.edit(lambda document: document)
    assert not store.path.exists()
    store.edit(set_target("a", "v1", "ann", None))
    before = store.path.stat().st_ino
    store.edit(lambda document: document)
    assert store.path.stat().st_ino == before


def test_other_users_may_read_the_file_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    store.edit(set_target("a", "v1", "ann", None))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o644
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["desired.json", "desired.lock"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"revision": "many"}'])
def test_a_damaged_file_is_reported_with_what_to_do_and_never_overwritten(
    tmp_path: Path, damage: bytes
) -> None:
    store = DesiredFile(tmp_path)
    store.edit(set_target("a", "v1", "ann", None))
    store.path.write_bytes(damage)
    for attempt in (store.read, lambda: store.edit(set_target("a", "v2", "ann", None))):
        with pytest.raises(StateDamaged, match=r"desired.json is damaged; move it away"):
            attempt()
    assert store.path.read_bytes() == damage


def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    store.edit(set_target("a", "v1", "ann", None))
    whole = store.path.read_bytes()
    store.path.write_bytes(b"{")
    with pytest.raises(StateDamaged):
        store.read()
    store.path.write_bytes(whole)
    assert store.read().models["a"].target == "v1"


def test_fields_of_a_newer_program_do_no_harm(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    store.edit(set_target("a", "v1", "ann", None))
    document = json.loads(store.path.read_bytes())
    store.path.write_text(json.dumps(document | {"colour": "red"}))
    assert store.read().models["a"].target == "v1"


@pytest.mark.parametrize(
    "text",
    [
        '{"required": ["../x"]}',
        '{"models": {"m": {"target": "V 1"}}}',
        '{"models": {"": {}}}',
    ],
)
def test_a_state_with_names_that_no_store_could_hold_is_damaged(tmp_path: Path, text: str) -> None:
    store = DesiredFile(tmp_path)
    store.path.parent.mkdir(parents=True)
    store.path.write_text(text)
    with pytest.raises(StateDamaged, match="move it away"):
        store.read()


def test_the_row_version_rises_at_every_write_and_only_there(tmp_path: Path) -> None:
    store = DesiredFile(tmp_path)
    edits = [
        seed("*", None),
        record_serving("m", "v1", "sha256:1", 1),
        settle_default(["m"]),
        set_target("m", "v1", "ann", None),
    ]
    versions = [store.edit(change).row_version for change in edits]

    assert versions == [1, 2, 3, 4]
    assert store.edit(settle_default(["m"])).row_version == 4
    assert DesiredFile(tmp_path).read().row_version == 4
