"""What every store of the desired state promises: the JSON file and its twin in memory alike."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hotswap.desired import DesiredState, DesiredStore, record_serving, seed, set_target
from registry.file_store import DesiredFile
from tests.support.desired_memory import DesiredMemory

EDITS = 40


@pytest.fixture(params=[DesiredMemory, DesiredFile])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DesiredStore:
    made: DesiredStore = DesiredMemory() if request.param is DesiredMemory else DesiredFile(tmp_path)
    return made


def test_before_the_first_edit_the_document_is_empty(store: DesiredStore) -> None:
    assert store.read() == DesiredState()


def test_what_was_edited_is_read_whole(store: DesiredStore) -> None:
    store.edit(seed("a:v1,b", "b"))
    store.edit(set_target("a", "v2", "ann", "better boxes"))
    after = store.edit(record_serving("a", "v2", "sha256:2", 1))
    assert store.read() == after
    assert (after.revision, after.models["a"].last_good, after.default) == (2, "v2", "b")


def test_an_edit_sees_what_every_earlier_edit_left(store: DesiredStore) -> None:
    store.edit(set_target("a", "v1", "ann", None))
    seen: list[str] = []

    def look(document: DesiredState) -> DesiredState:
        seen.append(document.models["a"].target)
        return document

    store.edit(look)
    assert seen == ["v1"]


def test_an_edit_that_raises_leaves_everything_as_it_was_and_the_next_one_works(store: DesiredStore) -> None:
    before = store.edit(set_target("a", "v1", "ann", None))

    def broken(_: DesiredState) -> DesiredState:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.edit(broken)
    assert store.read() == before
    assert store.edit(set_target("a", "v2", "ann", None)).revision == 2


def test_of_two_threads_that_edit_at_once_neither_loses_anything(store: DesiredStore) -> None:
    start = threading.Barrier(2)

    def edit_on(name: str) -> None:
        start.wait(20)
        for number in range(EDITS):
            store.edit(set_target(name, f"v{number}", name, None))

    threads = [threading.Thread(target=edit_on, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = store.read()
    assert document.revision == 2 * EDITS
    last = f"v{EDITS - 1}"
    assert {name: wish.target for name, wish in document.models.items()} == {"ann": last, "bob": last}
