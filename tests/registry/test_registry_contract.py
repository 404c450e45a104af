"""What every store of the registry promises: file, SQLite, PostgreSQL, and their twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.registries import open_registry
from hotswap.errors import Conflict, ModelNotFound, VersionNotFound
from registry.entries import MOST_ALIASES, By, Metadata, RegistryEntry, Status, Switch
from registry.errors import AliasNotFound, AlreadyRegistered, InvalidEntry
from registry.model_registry import ModelRegistry
from tests.support.registry_memory import RegistryMemory

ANN = By(actor="ann", reason="better boxes")
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "file", "sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def again(request: pytest.FixtureRequest) -> Iterator[Callable[[], ModelRegistry]]:
    """Opens the same registry, as another process would; the one in memory is always the same."""
    if request.param == "memory":
        memory = ModelRegistry(RegistryMemory())
        yield lambda: memory
        return
    where = _place(request)
    opened: list[ModelRegistry] = []

    def again() -> ModelRegistry:
        opened.append(open_registry(where))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


def _place(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return str(request.getfixturevalue(f"{kind}_place"))


@pytest.fixture
def registry(again: Callable[[], ModelRegistry]) -> ModelRegistry:
    made = again()
    for version in (1, 2, 3, "nightly"):
        made.register("shapes", version, f"models/shapes/{version}", digest=f"sha256:{version}")
    return made


def test_what_one_wrote_the_other_reads(registry: ModelRegistry, again: Callable[[], ModelRegistry]) -> None:
    registry.describe(
        "shapes",
        2,
        metadata={"description": "Kästchen ✓", "metrics": {"accuracy": 0.1, "latency_ms": 3}},
        tags={"team": "edge"},
        digest="sha256:two",
        by=ANN,
    )
    registry.set_alias("shapes", "best", 2, ANN)
    registry.activate("shapes", 2, ANN)
    registry.archive("shapes", 1, ANN)
    other = again()

    assert other.list() == registry.list()
    assert other.history("shapes") == registry.history("shapes")
    assert other.pointers().models == registry.pointers().models
    shown = other.entry("shapes", 2).model_dump(mode="json", exclude={"creation_timestamp", "path"})
    assert shown == {
        "model_name": "shapes",
        "version": 2,
        "status": "production",
        "metadata": {"description": "Kästchen ✓", "metrics": {"accuracy": 0.1, "latency_ms": 3}},
        "digest": "sha256:two",
        "aliases": ["best"],
        "tags": {"team": "edge"},
    }
    assert type(shown["metadata"]["metrics"]["latency_ms"]) is int


def test_entries_are_found_by_name_status_and_alias(registry: ModelRegistry) -> None:
    registry.register("faces", 1, "models/faces/1")
    registry.activate("shapes", 3)
    registry.set_alias("shapes", "best", 1)
    registry.set_alias("faces", "best", 1)

    def found(**by: str) -> list[tuple[str, str]]:
        return [(one.model_name, one.version) for one in registry.list(**by)]

    assert found(status="production") == [("shapes", "v3")]
    assert found(alias="best") == [("faces", "v1"), ("shapes", "v1")]
    assert found(name="shapes", alias="best", status="staging") == [("shapes", "v1")]
    assert found(name="shapes", alias="best", status="archived") == []
    assert found(alias="worst") == []
    assert registry.alias("shapes", "best").version == "v1"
    with pytest.raises(AliasNotFound):
        registry.alias("shapes", "worst")
    with pytest.raises(InvalidEntry):
        registry.list(status="gone")


@pytest.mark.parametrize("version", [3, "3", "v3", " V3 "])
def test_a_version_has_several_spellings(registry: ModelRegistry, version: int | str) -> None:
    assert registry.entry("shapes", version).version == "v3"
    assert registry.activate("shapes", version).entry.version == "v3"


def test_what_is_not_there_is_not_found(registry: ModelRegistry) -> None:
    for ask in (registry.activate, registry.archive, registry.reject, registry.stage, registry.entry):
        with pytest.raises(VersionNotFound):
            ask("shapes", 9)
        with pytest.raises(ModelNotFound):
            ask("faces", 1)
    for about in (registry.production, registry.history, registry.rollback, registry.rollback_target):
        with pytest.raises(ModelNotFound):
            about("faces")
    with pytest.raises(ModelNotFound):
        registry.alias("faces", "best")
    with pytest.raises(ModelNotFound):
        registry.undo("faces", 1)
    with pytest.raises(ModelNotFound):
        registry.delete_alias("faces", "best")


def test_an_entry_of_another_registry_is_taken_in_whole_or_not_at_all(registry: ModelRegistry) -> None:
    said = {"metadata": Metadata(description="old"), "tags": {"team": "edge"}}
    kept = registry.entry("shapes", 1).with_(status=Status.ARCHIVED, aliases=("best",), **said)
    for version in ("v1", "v9"):  # the service has registered the first, and said nothing of it
        registry.take_in(kept.with_(version=version), ANN)
        found = registry.entry("shapes", version)
        assert (found.status, found.aliases, found.tags) == ("archived", ("best",), {"team": "edge"})
        assert found.metadata.description == "old"
    before = registry.list(), registry.history("shapes")
    for version in ("v1", "v9"):
        with pytest.raises(AlreadyRegistered):
            registry.take_in(kept.with_(version=version), ANN)
    many = tuple(f"alias{number}" for number in range(MOST_ALIASES + 1))
    with pytest.raises(Conflict):
        registry.take_in(kept.with_(version="v2", aliases=many), ANN)
    assert (registry.list(), registry.history("shapes")) == before


def test_rollbacks_go_back_step_by_step_in_whatever_process(
    registry: ModelRegistry, again: Callable[[], ModelRegistry]
) -> None:
    for version in (1, 2, 3):
        registry.activate("shapes", version)
    assert again().rollback_target("shapes").version == "v2"
    assert [again().rollback("shapes").entry.version for _ in range(2)] == ["v2", "v1"]
    again().activate("shapes", "nightly")
    assert again().rollback("shapes").entry.version == "v1"
    with pytest.raises(Conflict):
        again().rollback("shapes")


def test_an_undo_takes_an_activation_back_and_only_the_last(registry: ModelRegistry) -> None:
    first = registry.activate("shapes", 1).record
    second = registry.activate("shapes", 2).record
    assert first is not None
    assert second is not None
    with pytest.raises(Conflict):
        registry.undo("shapes", first.number)
    assert registry.undo("shapes", second.number, ANN).entry.version == "v1"
    with pytest.raises(Conflict):
        registry.rollback("shapes")


def test_an_undo_of_the_first_activation_leaves_no_production(registry: ModelRegistry) -> None:
    first = registry.activate("shapes", 1).record
    assert first is not None
    registry.undo("shapes", first.number)
    assert registry.production("shapes") is None


def test_a_refused_change_changes_nothing(registry: ModelRegistry) -> None:
    registry.activate("shapes", 1)
    before = registry.list(), registry.history("shapes"), registry.pointers()

    def gone(_: RegistryEntry) -> None:
        raise Conflict("its files are gone")

    refused: list[Callable[[], object]] = [
        lambda: registry.activate("shapes", 2, By(expected_current=3)),
        lambda: registry.activate("shapes", 2, check=gone),
        lambda: registry.archive("shapes", 1),
        lambda: registry.register("shapes", 2, "models/x"),
        lambda: registry.rollback("shapes"),
        lambda: registry.set_alias("shapes", "best", 2, By(expected_current=1)),
    ]
    for attempt in refused:
        with pytest.raises(Conflict):
            attempt()
    assert (registry.list(), registry.history("shapes"), registry.pointers()) == before


def test_what_is_so_already_leaves_no_record(registry: ModelRegistry) -> None:
    registry.activate("shapes", 1)
    registry.archive("shapes", 2)
    registry.set_alias("shapes", "best", 1)
    count = len(registry.history("shapes"))
    assert registry.activate("shapes", 1).record is None
    assert registry.archive("shapes", 2).record is None
    assert registry.set_alias("shapes", "best", 1).record is None
    assert registry.describe("shapes", 1).record is None
    assert len(registry.history("shapes")) == count


def test_the_history_says_who_changed_what_when_and_why(registry: ModelRegistry) -> None:
    before = datetime.now(UTC)
    registry.activate("shapes", 1, ANN)
    registry.activate("shapes", 2, By(actor="bob"))
    registry.set_alias("shapes", "best", 1, ANN)
    registry.reject("shapes", 3, ANN)
    shown = [one.model_dump(mode="json", exclude_none=True) for one in registry.history("shapes", limit=4)]
    times = [one.pop("time") for one in shown]

    assert times == sorted(times, reverse=True)
    assert times[-1] >= before.isoformat()[:19]
    same = {"model_name": "shapes", "actor": "ann", "reason": "better boxes"}
    assert shown == [
        same | {"number": 8, "action": "reject", "version": 3, "was": "staging", "status": "rejected"},
        same
        | {"number": 7, "action": "set_alias", "version": 1, "alias": "best", "after": 1}
        | {"after_digest": "sha256:1"},
        {"number": 6, "action": "activate", "model_name": "shapes", "version": 2, "actor": "bob"}
        | {"before": 1, "after": 2, "before_digest": "sha256:1", "after_digest": "sha256:2"}
        | {"was": "staging", "status": "production"},
        same
        | {"number": 5, "action": "activate", "version": 1, "after": 1, "after_digest": "sha256:1"}
        | {"was": "staging", "status": "production"},
    ]
    assert [one.number for one in registry.history("shapes", before=4)] == [3, 2, 1]
    assert (registry.history("shapes", before=-1), len(registry.history("shapes", before=10**30))) == ((), 8)


def test_pointers_say_what_is_pointed_at_and_when_that_may_have_changed(
    registry: ModelRegistry, again: Callable[[], ModelRegistry]
) -> None:
    registry.activate("shapes", 1)
    registry.set_alias("shapes", "best", "nightly")
    first = registry.pointers()
    pointer = first.models["shapes"]
    assert (pointer.production, pointer.aliases, first.problem) == ("v1", {"best": "nightly"}, None)
    assert registry.pointers() == first

    again().activate("shapes", 2)
    second = registry.pointers()
    assert second.models["shapes"].production == "v2"
    assert second.row_version != first.row_version


def test_a_switch_is_kept_once_and_found_by_time(registry: ModelRegistry) -> None:
    def switch(number: int, version: str | None, minutes: int, service: str = "a") -> Switch:
        time = NOON + timedelta(minutes=minutes)
        digest = f"sha256:{version}"
        return Switch(
            model_name="shapes", number=number, version=version, digest=digest, time=time, service=service
        )

    for one in (
        switch(1, "v1", 0),
        switch(1, "v1", 1),
        switch(2, "v2", 10),
        switch(3, None, 20),
        switch(1, "v3", 5, "b"),
    ):
        registry.record_switch(one)
        registry.record_switch(one)

    def served(minutes: float) -> dict[str, str | None]:
        found = registry.served_at("shapes", NOON + timedelta(minutes=minutes))
        return {one.service: one.version for one in found}

    assert served(-1) == {}
    assert served(0) == {"a": "v1"}
    assert served(9.9) == {"a": "v1", "b": "v3"}
    assert served(10) == {"a": "v2", "b": "v3"}
    assert served(99) == {"a": None, "b": "v3"}
    assert registry.served_at("faces", NOON) == ()


@pytest.mark.parametrize("name", ["Not A Name", "", "a" * 64, "../x", "\ud800", "x\0"])
def test_odd_names_are_refused_or_not_found(registry: ModelRegistry, name: str) -> None:
    for attempt in (lambda: registry.activate(name, 1), lambda: registry.entry("shapes", name)):
        with pytest.raises(InvalidEntry):
            attempt()
    with pytest.raises(InvalidEntry):
        registry.set_alias("shapes", name, 1)
    asks: list[Callable[[str], object]] = [
        registry.production,
        registry.history,
        registry.list,
        lambda name: registry.list(alias=name),
        lambda name: registry.alias("shapes", name),
        lambda name: registry.served_at(name, NOON),
    ]
    for ask in asks:
        with pytest.raises(InvalidEntry):
            ask(name)


@pytest.mark.parametrize("alias", ["latest", "production"])
def test_an_alias_is_no_target_of_another_meaning(registry: ModelRegistry, alias: str) -> None:
    with pytest.raises(InvalidEntry):
        registry.set_alias("shapes", alias, 1)


@pytest.mark.parametrize("version", ["9" * 70, 10**70, "007", "x" * 63, 2**60, True, None, 1.5])
def test_odd_versions_are_refused_or_found_again(registry: ModelRegistry, version: object) -> None:
    try:
        entry = registry.register("odd", version, "models/odd/1").entry  # type: ignore[arg-type]
    except InvalidEntry:
        return
    assert registry.list("odd") == (entry,)
    shown = entry.model_dump(mode="json")["version"]
    assert registry.entry("odd", shown) == entry
