"""The rules of the registry, as a table: what a change makes of a model's record, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hotswap.errors import Conflict
from registry.entries import Action, By, RegistryEntry, Status
from registry.errors import AliasNotFound
from registry.model_record import (
    MOST_EARLIER,
    Change,
    ModelRecord,
    Stamp,
    activate,
    archive,
    delete_alias,
    describe,
    earlier,
    register,
    reject,
    rollback,
    set_alias,
    stage,
    take_in_edit,
    undo,
)

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def _record(versions: str = "abcd") -> ModelRecord:
    entries = {
        version: RegistryEntry(
            model_name="m", version=version, path=f"models/m/{version}", creation_timestamp=NOON
        )
        for version in versions
    }
    return ModelRecord("m", entries)


def _after(record: ModelRecord, *changes: Change, expected: str | None = None) -> ModelRecord:
    number = record.moves[-1].number if record.moves else 0
    for change in changes:
        number += 1
        record = change(record, Stamp(number, NOON, By(expected_current=expected))).record
    return record


def _production(record: ModelRecord) -> str | None:
    return record.production.version if record.production else None


def _steps(text: str) -> list[Change]:
    """`a` activates a, `<` rolls back, `~` takes the last change back."""
    changes = []
    for number, step in enumerate(text, 1):
        changes.append(rollback() if step == "<" else undo(number - 1) if step == "~" else activate(step))
    return changes


@pytest.mark.parametrize(
    ("steps", "production", "before"),
    [
        ("a", "a", ""),
        ("abc", "c", "ab"),
        ("abc<", "b", "a"),
        ("abc<<", "a", ""),
        ("abc<<d", "d", "a"),
        ("abc<<d<", "a", ""),
        ("aba", "a", "ab"),
        ("aba<", "b", "a"),
        ("aba<<", "a", ""),
        ("abc<b", "b", "a"),  # activating what is production changes nothing
        ("abc<c", "c", "ab"),
        ("a~", None, ""),
        ("ab~", "a", ""),
        ("abc<~", "c", "ab"),
        ("abc~<", "a", ""),
        ("ab~b", "b", "a"),
    ],
)
def test_a_rollback_goes_to_what_was_production_before(
    steps: str, production: str | None, before: str
) -> None:
    record = _after(_record(), *_steps(steps))
    assert (_production(record), "".join(earlier(record.moves))) == (production, before)


@pytest.mark.parametrize("steps", ["", "a", "ab<", "abc<<", "a~"])
def test_where_nothing_was_production_before_a_rollback_is_refused(steps: str) -> None:
    record = _after(_record(), *_steps(steps))
    with pytest.raises(Conflict):
        _after(record, rollback())


@pytest.mark.parametrize("put_away", [archive, reject])
def test_a_rollback_to_a_version_that_was_put_away_is_refused_until_it_is_staged(put_away) -> None:
    record = _after(_record(), activate("a"), activate("b"), put_away("a"))
    with pytest.raises(Conflict):
        _after(record, rollback())
    assert _production(_after(record, stage("a"), rollback())) == "a"


def test_a_rollback_to_a_version_that_was_removed_is_refused() -> None:
    record = _after(_record(), activate("a"), activate("b"))
    without = ModelRecord("m", {"b": record.entries["b"]}, record.moves)
    with pytest.raises(Conflict):
        _after(without, rollback())


def test_rollbacks_are_possible_so_far_and_no_further() -> None:
    record = _after(_record(), *_steps("ab" * MOST_EARLIER))
    assert len(earlier(record.moves)) == MOST_EARLIER


@pytest.mark.parametrize("status", list(Status))
def test_an_activation_leaves_one_production_version_whatever_the_status_was(status: Status) -> None:
    record = _after(_record(), activate("a"))
    record = record.changed(record.entries["b"].with_(status=status)) if status != "production" else record
    if status is Status.REJECTED:
        with pytest.raises(Conflict):
            _after(record, activate("b"))
        return
    after = _after(record, activate("b"))
    assert {one.version: one.status for one in after.entries.values()} == {
        "a": "staging",
        "b": "production",
        "c": "staging",
        "d": "staging",
    }


@pytest.mark.parametrize("put_away", [archive, reject, stage])
def test_production_is_not_put_away(put_away) -> None:
    record = _after(_record(), activate("a"))
    with pytest.raises(Conflict):
        _after(record, put_away("a"))


def test_an_undo_gives_a_version_the_status_that_it_had() -> None:
    record = _after(_record(), activate("a"), archive("b"))
    record = activate("b")(record, Stamp(3, NOON, By())).record
    assert undo(3)(record, Stamp(4, NOON, By())).record.entries["b"].status == "archived"


def test_an_undo_of_what_was_changed_since_is_refused() -> None:
    record = _after(_record(), activate("a"), activate("b"), activate("c"))
    with pytest.raises(Conflict):
        _after(record, undo(2))


def test_an_alias_means_one_version() -> None:
    record = _after(_record(), set_alias("best", "a"), set_alias("new", "a"), set_alias("best", "b"))
    assert {one.version: one.aliases for one in record.entries.values() if one.aliases} == {
        "a": ("new",),
        "b": ("best",),
    }
    record = _after(record, delete_alias("best"))
    with pytest.raises(AliasNotFound):
        _after(record, delete_alias("best"))


@pytest.mark.parametrize(
    "change",
    [
        activate("c"),
        rollback(),
        archive("c"),
        reject("c"),
        stage("c"),
        describe("c", {"tags": {"a": "b"}}),
        set_alias("best", "c"),
        delete_alias("best"),
        register(_record("e").entries["e"]),
    ],
)
def test_a_change_that_expects_another_version_is_refused(change: Change) -> None:
    record = _after(_record(), activate("a"), activate("b"), set_alias("best", "b"))
    with pytest.raises(Conflict):
        _after(record, change, expected="d")
    _after(record, change, expected="b")


def test_a_check_that_raises_leaves_the_record() -> None:
    def gone(entry: RegistryEntry) -> None:
        raise Conflict(f"the files of {entry.version} are gone")

    record = _after(_record(), activate("a"), activate("b"))
    for change in (activate("c", gone), rollback(gone)):
        with pytest.raises(Conflict):
            _after(record, change)
    assert _production(record) == "b"


@pytest.mark.parametrize(
    ("noted", "found", "change"),
    [
        (None, None, None),
        ("a", "a", None),
        (None, "a", (None, "a")),
        ("a", "b", ("a", "b")),
        ("a", None, ("a", None)),
    ],
)
def test_production_that_was_moved_past_the_registry_is_noted(noted, found, change) -> None:
    record = _after(_record(), *([activate(noted)] if noted else []))
    entries = {
        version: one.with_(status=Status.PRODUCTION if version == found else Status.STAGING)
        for version, one in record.entries.items()
    }
    outcome = take_in_edit(ModelRecord("m", entries, record.moves), Stamp(9, NOON, By(actor="file edit")))
    if change is None:
        assert outcome is None
        return
    assert outcome is not None
    assert outcome.change is not None
    assert (outcome.change.before, outcome.change.after, outcome.change.action) == (*change, Action.FILE_EDIT)
    assert "".join(earlier(outcome.record.moves)) == (noted or "")
