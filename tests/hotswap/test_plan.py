"""Desired against actual, as a table."""

from __future__ import annotations

import pytest

from hotswap.plan import Action, Actual, Load, Unload, Want, may_publish, plan

NOTHING = Actual()


def waiting(*versions: str, serving: str | None = None) -> Actual:
    return Actual(serving=serving, waiting=frozenset(versions))


TABLE = {
    "an empty slot loads its target": (Want("m", "v2"), NOTHING, [Load("m", "v2")]),
    "at start the target comes before what served last": (
        Want("m", "v2", "v1"),
        NOTHING,
        [Load("m", "v2")],
    ),
    "at start what served last stands in for a target that cannot be told": (
        Want("m", None, "v1"),
        NOTHING,
        [Load("m", "v1")],
    ),
    "at start what served last stands in for a target that failed or is not settled": (
        Want("m", "v2", "v1"),
        waiting("v2"),
        [Load("m", "v1")],
    ),
    "when both have failed, both wait": (Want("m", "v2", "v1"), waiting("v1", "v2"), []),
    "a target that is what served last is tried once": (Want("m", "v1", "v1"), waiting("v1"), []),
    "a first start without anything to load does nothing": (Want("m", None), NOTHING, []),
    "a target that serves needs nothing": (Want("m", "v1", "v1"), Actual("v1"), []),
    "another target is loaded beside what serves": (Want("m", "v2", "v1"), Actual("v1"), [Load("m", "v2")]),
    "a failed target waits while the old one serves": (
        Want("m", "v2", "v1"),
        waiting("v2", serving="v1"),
        [],
    ),
    "what serves stays when the target cannot be told": (Want("m", None, "v1"), Actual("v1"), []),
    "what served last is not loaded beside what serves": (
        Want("m", "v3", "v1"),
        waiting("v3", serving="v2"),
        [],
    ),
    "a slot loads one version at a time": (Want("m", "v3"), Actual("v1", frozenset({"v2"})), []),
    "what is loaded and waits for the other workers is not loaded again": (
        Want("m", "v2", "v1"),
        Actual("v1", prepared="v2"),
        [],
    ),
    "nothing stands in while the target waits for the other workers": (
        Want("m", "v2", "v1"),
        Actual(prepared="v2"),
        [],
    ),
    "a model that is not wanted is unloaded": (None, Actual("v1"), [Unload("m")]),
    "a model that is not wanted and serves nothing is left alone": (None, NOTHING, []),
}


@pytest.mark.parametrize(("want", "slot", "actions"), TABLE.values(), ids=TABLE.keys())
def test_plan(want: Want | None, slot: Actual, actions: list[Action]) -> None:
    assert plan([want] if want else [], {"m": slot}) == actions


def test_each_model_is_planned_for_itself() -> None:
    wants = [Want("a", "v1"), Want("b", "v2", "v1")]
    actual = {"b": Actual("v1"), "c": Actual("v9")}
    assert plan(wants, actual) == [Load("a", "v1"), Load("b", "v2"), Unload("c")]


@pytest.mark.parametrize(
    ("want", "slot", "allowed"),
    [
        (Want("m", "v2", "v1"), Actual("v1"), True),
        (Want("m", "v3", "v1"), Actual("v1"), False),
        (Want("m", None, "v2"), NOTHING, True),
        (Want("m", None, "v2"), Actual("v1"), False),
        (None, NOTHING, False),
    ],
    ids=["its target", "another target now", "what served last, nothing else", "no more needed", "unwanted"],
)
def test_only_what_is_still_wanted_is_published(want: Want | None, slot: Actual, allowed: bool) -> None:
    assert may_publish("v2", want, slot) is allowed
