"""Who may come into memory, and who leaves for it: a pure decision."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.planner import (
    MANY,
    Footprint,
    LoadAdmission,
    LoadCandidate,
    Memory,
    Planner,
    Policy,
    Resident,
    ResidentSet,
    Use,
    freed,
    mark_of,
)

MB = 1_000_000
NOW = 1000.0


def sized(megabytes: int, load_seconds: float = 0.1) -> Footprint:
    """A footprint of one worker's own bytes."""
    return Footprint(0, megabytes * MB, megabytes * MB, load_seconds)


def resident(name: str, megabytes: int = 100, **more: object) -> Resident:
    """A version that came long ago."""
    fields = {"footprint": sized(megabytes), "since": 0.0, **more}
    return Resident(name, "v1", **fields)  # type: ignore[arg-type]


def used(last: float = 0.0, leases: int = 0, opened: float = 0.0, awaited: int = 0) -> Use:
    """A version that the only worker has loaded."""
    return Use(last, opened, leases, (frozenset({mark_of("v1")}),), awaited)


def admit(
    present: list[Resident],
    candidate: LoadCandidate,
    uses: dict[str, Use] | None = None,
    *,
    budget: int = 300,
    **policy: object,
) -> LoadAdmission:
    """Ask for a candidate in a memory of so many megabytes."""
    known = {one.name: used() for one in present} | (uses or {})
    rules = Policy(**{"minimum_stay": 0.5, **policy})  # type: ignore[arg-type]
    planner = Planner(known, Memory(budget * MB), rules, NOW, wall=5.0)
    return planner.admit(ResidentSet(tuple(present)), candidate)


def leaving(admission: LoadAdmission) -> list[str]:
    """The names of those that are told to leave."""
    return [one.name for one in admission.residents.residents if one.leaving]


NEW = LoadCandidate("new", "v1", sized(100))


def test_what_fits_comes_in_and_counts_its_peak_until_all_workers_hold_it() -> None:
    peak = Footprint(shared=50 * MB, own=10 * MB, peak=90 * MB)
    admission = admit([], LoadCandidate("new", "v1", peak))
    (entry,) = admission.residents.residents
    assert (admission.reason, entry.since, entry.leaving) == (None, NOW, False)
    memory = Memory(1000 * MB, workers=2)
    half = Use(held=(frozenset({mark_of("v1")}), frozenset()))
    whole = Use(held=(frozenset({mark_of("v1")}),) * 2)
    for use, expected in ((half, 50 + 2 * 90), (whole, 50 + 2 * 10)):
        planner = Planner({"new": use}, memory, Policy(), NOW, 0.0)
        assert planner.bytes_of(entry) == expected * MB


def test_the_peak_is_compared_with_the_budget_before_anything_is_loaded() -> None:
    large = LoadCandidate("new", "v1", Footprint(0, own=100 * MB, peak=310 * MB))
    admission = admit([], large)
    assert admission.hopeless
    assert admission.reason == (
        "new:v1 needs 310 MB at its peak; budget 300, workers 0, resident 0, "
        "of which 0 leased, pinned or just loaded"
    )


def test_who_was_used_least_recently_leaves() -> None:
    present = [resident("a"), resident("b"), resident("c")]
    admission = admit(present, NEW, {"a": used(900), "b": used(800), "c": used(850)})
    assert leaving(admission) == ["b"]
    assert admission.reason is not None
    assert not admission.hopeless
    assert admission.residents.evictions["b"].reason == "evicted to make room for new:v1"
    assert admission.residents.find("new", "v1") is None  # until b is freed


def test_what_costs_long_to_bring_back_stays_longer() -> None:
    slow = resident("slow", footprint=sized(100, load_seconds=10.0))
    present = [slow, resident("quick"), resident("c")]
    uses = {"slow": used(600), "quick": used(900), "c": used(990)}
    assert leaving(admit(present, NEW, uses)) == ["quick"]
    assert leaving(admit([replace(slow, footprint=sized(100)), *present[1:]], NEW, uses)) == ["slow"]


@pytest.mark.parametrize(
    ("uses", "policy", "since"),
    [
        ({"a": used(0, leases=1)}, {}, 0.0),
        ({"a": used(0, awaited=1)}, {}, 0.0),
        ({"a": used(0)}, {"pinned": frozenset({"a"})}, 0.0),
        ({"a": used(0, opened=NOW - 0.4)}, {}, 0.0),
        ({"a": used(0)}, {}, NOW - 0.4),
        ({"a": Use(held=(frozenset(),))}, {}, 0.0),
    ],
    ids=["leased", "awaited", "pinned", "just answering", "just come", "loading"],
)
def test_who_never_leaves(uses: dict[str, Use], policy: dict[str, object], since: float) -> None:
    present = [resident("a", since=since), resident("b"), resident("c")]
    uses = {"b": used(999), "c": used(998), **uses}
    assert leaving(admit(present, NEW, uses, **policy)) == ["c"]


def test_who_was_used_since_it_came_needs_to_stay_no_longer() -> None:
    present = [resident("a", since=NOW - 0.4), resident("b"), resident("c")]
    uses = {"a": used(NOW - 0.3, opened=NOW - 0.4), "b": used(0, leases=1), "c": used(0, leases=1)}
    assert leaving(admit(present, NEW, uses)) == ["a"]


def test_nobody_leaves_where_that_is_not_enough_and_pinned_ones_make_it_hopeless() -> None:
    present = [resident("a"), resident("b", 200)]
    borrowed = admit(present, LoadCandidate("new", "v1", sized(300)), {"b": used(0, leases=1)})
    assert (leaving(borrowed), borrowed.hopeless) == ([], False)
    pinned = admit(present, LoadCandidate("new", "v1", sized(300)), pinned=frozenset({"b"}))
    assert (leaving(pinned), pinned.hopeless) == ([], True)
    assert pinned.reason is not None
    assert "resident 300, of which 200 leased, pinned or just loaded" in pinned.reason


def test_what_is_to_leave_counts_until_it_is_freed_and_nobody_more_leaves_for_the_same() -> None:
    present = [resident("a", leaving=True), resident("b"), resident("c")]
    admission = admit(present, NEW)
    assert leaving(admission) == ["a"]
    assert admission.reason is not None
    gone = freed(admission.residents, {"a": Use(held=(frozenset(),))}, NOW, wanted=[("b", "v1"), ("c", "v1")])
    assert admit(list(gone.residents), NEW).reason is None


def test_room_is_made_for_several_at_once() -> None:
    present = [resident("a"), resident("b"), resident("c")]
    uses = {"a": used(1), "b": used(2), "c": used(3)}
    known = {one.name: used() for one in present} | uses
    planner = Planner(known, Memory(300 * MB), Policy(minimum_stay=0), NOW, 0.0)
    first = planner.admit(ResidentSet(tuple(present)), NEW)
    second = planner.admit(first.residents, replace(NEW, name="newer"), planner.needed(NEW))
    assert (leaving(first), leaving(second)) == (["a"], ["a", "b"])


def test_a_large_one_that_leaves_spares_the_small_ones() -> None:
    present = [resident("a", 10), resident("b", 190), resident("c")]
    uses = {"a": used(1), "b": used(2), "c": used(999)}
    assert leaving(admit(present, NEW, uses)) == ["b"]


def test_for_an_eager_one_nobody_leaves_and_it_is_left_out() -> None:
    present = [resident("a"), resident("b"), resident("c")]
    admission = admit(present, replace(NEW, eager=True))
    assert leaving(admission) == []
    assert admission.residents.evictions["new"].reason.startswith("loads when it is asked for: new:v1 needs")
    asked = Planner({}, Memory(900 * MB), Policy(), NOW, 0.0).admit(admission.residents, NEW)
    assert "new" not in asked.residents.evictions


def test_the_version_that_answers_does_not_leave_for_its_successor() -> None:
    present = [resident("new"), resident("b"), resident("c")]
    admission = admit(present, replace(NEW, version="v2"), {"new": used(1), "b": used(2), "c": used(3)})
    assert leaving(admission) == ["b"]


def test_what_workers_take_beside_their_models_is_no_room_for_models() -> None:
    planner = Planner({}, Memory(300 * MB, base=250 * MB, least=250 * MB), Policy(), NOW, 0.0)
    assert planner.admit(ResidentSet(), NEW).hopeless


def test_models_that_take_more_than_their_footprints_leave_before_others_are_refused() -> None:
    present = ResidentSet((resident("a", 10), resident("b", 10)))
    uses = {"a": used(1), "b": used(2)}
    memory = Memory(300 * MB, base=250 * MB, least=100 * MB)  # 150 of it are theirs
    admission = Planner(uses, memory, Policy(minimum_stay=0), NOW, 0.0).admit(present, NEW)
    assert (leaving(admission), admission.coming) == (["a", "b"], True)
    uses["a"] = used(1, leases=1)
    waiting = Planner(uses, memory, Policy(minimum_stay=0), NOW, 0.0).admit(present, NEW)
    assert (leaving(waiting), waiting.hopeless, waiting.coming) == ([], False, False)


def test_what_is_asked_for_all_the_time_does_not_leave_where_footprints_are_not_enough() -> None:
    present = ResidentSet((resident("busy", 10), resident("idle", 10)))
    uses = {"busy": used(NOW - 1), "idle": used(NOW - 60)}
    memory = Memory(300 * MB, base=250 * MB, least=100 * MB)
    admission = Planner(uses, memory, Policy(minimum_stay=0), NOW, 0.0).admit(present, NEW)
    assert (leaving(admission), admission.coming) == (["idle"], True)
    alone = ResidentSet(present.residents[:1])
    waiting = Planner(uses, memory, Policy(minimum_stay=0), NOW, 0.0).admit(alone, NEW)
    assert (leaving(waiting), waiting.hopeless, waiting.is_next) == ([], False, False)


def test_who_only_waits_for_others_to_be_given_back_is_next() -> None:
    borrowed = admit(
        [resident("a", 150), resident("b", 150)], NEW, {"a": used(leases=1), "b": used(leases=1)}
    )
    assert (borrowed.reason is None, borrowed.is_next) == (False, True)


def test_an_entry_stays_while_a_worker_holds_it_or_it_is_wanted() -> None:
    present = ResidentSet(
        (resident("held"), resident("wanted"), resident("gone"), resident("fresh", since=NOW))
    )
    uses = {"held": used(), "gone": Use(held=(frozenset(),))}
    after = freed(present, uses, NOW, wanted=[("wanted", "v1")])
    assert [one.name for one in after.residents] == ["held", "wanted", "fresh"]
    assert freed(after, uses, NOW, wanted=[("wanted", "v1")]) is after


def test_what_has_failed_to_load_keeps_no_place() -> None:
    present = ResidentSet((resident("bad", since=NOW),))
    wanted = [("bad", "v1")]
    assert freed(present, {}, NOW, wanted=wanted) is present
    assert freed(present, {}, NOW, wanted=wanted, failed=wanted).residents == ()


def test_a_worker_that_holds_more_than_it_can_name_holds_everything() -> None:
    assert Use(held=(frozenset({MANY}),)).is_held("v9")


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 120), max_size=8),
    ages=st.lists(st.floats(0, 999), min_size=8, max_size=8),
    leases=st.lists(st.integers(0, 1), min_size=8, max_size=8),
    wanted=st.integers(1, 400),
)
def test_whoever_comes_fits(sizes: list[int], ages: list[float], leases: list[int], wanted: int) -> None:
    """Tried until it is in: the sum never passes the budget, and nobody borrowed leaves."""
    budget = max(300, sum(sizes))
    names = [f"m{place}" for place in range(len(sizes))]
    uses = {name: used(ages[place], leases[place]) for place, name in enumerate(names)}
    present = ResidentSet(tuple(resident(name, size) for name, size in zip(names, sizes, strict=True)))
    candidate = LoadCandidate("new", "v1", sized(wanted))
    for _ in range(3):
        planner = Planner(uses, Memory(budget * MB), Policy(minimum_stay=0), NOW, 0.0)
        admission = planner.admit(present, candidate)
        counted = sum(planner.bytes_of(one) for one in admission.residents.residents)
        assert counted <= budget * MB
        assert not any(one.leaving and uses[one.name].leases for one in admission.residents.residents)
        if admission.reason is None or not leaving(admission):
            break
        uses |= {name: Use(held=(frozenset(),)) for name in leaving(admission)}
        present = freed(admission.residents, uses, NOW, wanted=[(name, "v1") for name in names])
    fixed = sum(size for place, size in enumerate(sizes) if leases[place])
    assert (admission.reason is None) == (wanted + fixed <= budget)
