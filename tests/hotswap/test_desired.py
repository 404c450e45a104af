"""Edits of the desired state: pure functions from one document to the next."""

from __future__ import annotations

import pytest

from hotswap.desired import (
    BadServe,
    CanaryTarget,
    DesiredModel,
    DesiredState,
    note_promotion,
    parse_serve,
    put_back,
    record_serving,
    seed,
    set_canary,
    set_loaded,
    set_target,
    settle_default,
)


def seeded(*texts: tuple[str, str | None], start: DesiredState | None = None) -> DesiredState:
    """The document after starts with these texts, one after the other."""
    document = start or DesiredState()
    for serve, default in texts:
        document = seed(serve, default)(document)
    return document


def pinned(document: DesiredState, name: str, target: str) -> DesiredState:
    return set_target(name, target, "ann", "because")(document)


# --- OKAWARI_SERVE --------------------------------------------------------------------------------


def test_serve_is_read_as_targets_by_name_in_the_order_written() -> None:
    assert parse_serve("b:v2, a ,c:3,d:latest") == {"b": "v2", "a": "latest", "c": "v3", "d": "latest"}
    assert list(parse_serve("b,a") or ()) == ["b", "a"]
    assert parse_serve(" * ") is None


@pytest.mark.parametrize("text", ["", " , ", "*,a", "a:b:c", "a:-", ":v1", "A b"])
def test_a_serve_that_cannot_be_read_is_refused_saying_so(text: str) -> None:
    with pytest.raises(BadServe, match="OKAWARI_SERVE"):
        parse_serve(text)


def test_a_first_start_applies_the_text_as_actor_environment() -> None:
    document = seeded(("a:v1,b", None))
    wish = document.models["a"]
    assert document.required == ("a", "b")
    assert (wish.target, wish.actor, wish.revision, document.revision) == ("v1", "environment", 1, 1)


def test_only_named_models_are_wanted_and_with_a_star_every_one() -> None:
    named, all_of_them = seeded(("a:v1", None)), seeded(("*", None))
    assert named.model("other") is None
    assert all_of_them.model("other") == DesiredModel()


def test_the_same_text_again_changes_nothing_and_keeps_what_people_changed() -> None:
    document = pinned(seeded(("a:v1", None)), "a", "v2")
    assert seeded(("a:v1", None), start=document) == document


def test_a_changed_text_replaces_what_was_wanted_and_remembers_what_served() -> None:
    document = pinned(seeded(("a:v1,b:v1", None)), "a", "v2")
    document = record_serving("a", "v2", "sha256:2", 1)(document)
    document = seeded(("a:v3,c", None), start=document)
    wish = document.models["a"]
    assert (wish.target, wish.actor, wish.last_good, wish.generation) == ("v3", "environment", "v2", 1)
    assert document.required == ("a", "c")
    assert document.model("b") is None


def test_a_changed_text_does_not_count_what_serves_on_as_something_new() -> None:
    serving = record_serving("a", "v2", "sha256:2", 1)
    document = serving(seeded(("a:v2", None)))
    assert serving(seeded(("a:v2,b", None), start=document)).models["a"].generation == 1


def test_a_star_after_names_follows_latest_everywhere() -> None:
    document = seeded(("*", None), start=pinned(seeded(("a:v1", None)), "b", "v2"))
    assert document.required is None
    assert [document.model(name).target for name in ("a", "b", "c")] == ["latest"] * 3  # type: ignore[union-attr]


def test_a_first_start_with_a_star_keeps_what_was_pinned_before_it() -> None:
    document = seeded(("*", None), start=pinned(DesiredState(), "a", "v1"))
    assert document.models["a"].target == "v1"


# --- the default model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "default"),
    [
        ([("b,a", None)], "b"),
        ([("b,a", "a")], "a"),
        ([("*", "a")], "a"),
        ([("*", None)], None),
        ([("b,a", "a"), ("b,a", None)], "b"),
        ([("*", "a"), ("*", None)], None),
        ([("*", "a"), ("*", "c")], "c"),
    ],
)
def test_the_default_is_the_one_told_else_the_first_named(
    texts: list[tuple[str, str | None]], default: str | None
) -> None:
    assert seeded(*texts).default == default


@pytest.mark.parametrize(
    ("names", "default"), [([], None), (["a"], "a"), (["a", "b"], None), (["a", "shapes"], "shapes")]
)
def test_else_it_is_shapes_or_the_only_one(names: list[str], default: str | None) -> None:
    assert settle_default(names)(seeded(("*", None))).default == default


def test_a_default_once_stored_is_never_moved() -> None:
    document = settle_default(["a"])(seeded(("*", None)))
    assert settle_default(["shapes"])(document) == document
    assert seeded(("*", None), start=document).default == "a"


# --- management calls ------------------------------------------------------------------------------


def test_setting_a_target_makes_the_model_wanted_and_says_who_and_why() -> None:
    document = pinned(seeded(("a:v1", None)), "b", "v2")
    wish = document.model("b")
    assert wish is not None
    assert (wish.target, wish.actor, wish.reason, wish.revision) == ("v2", "ann", "because", 2)
    assert wish.changed is not None


def test_setting_a_target_ends_an_unloading() -> None:
    document = DesiredState(models={"a": DesiredModel(unloaded=True)})
    assert pinned(document, "a", "v1").models["a"].unloaded is False


def test_putting_back_restores_the_wish_but_what_served_since_is_kept() -> None:
    before = pinned(seeded(("*", None)), "a", "v1")
    changed = record_serving("a", "v2", "sha256:2", 1)(pinned(before, "a", "v2"))
    back = put_back("a", before.models["a"], changed.models["a"].revision)(changed)
    wish = back.models["a"]
    assert (wish.target, wish.last_good, wish.generation) == ("v1", "v2", 1)
    assert back.revision == wish.revision == changed.revision + 1


def test_putting_back_leaves_alone_what_somebody_changed_since() -> None:
    before = pinned(DesiredState(), "a", "v1")
    mine = pinned(before, "a", "v2")
    theirs = pinned(mine, "a", "v3")
    assert put_back("a", before.models["a"], mine.models["a"].revision)(theirs) == theirs


def test_putting_back_a_model_that_was_not_wanted_leaves_it_unwanted() -> None:
    before = seeded(("a:v1", None))
    mine = pinned(before, "b", "v2")
    back = put_back("b", before.models.get("b"), mine.models["b"].revision)(mine)
    assert back.model("b") is None


def test_a_promotion_is_noted_for_a_model_that_follows_latest_until_its_target_changes() -> None:
    before = seeded(("*", None), ("a,b:v1", None))
    noted = note_promotion("a", "v2")(before)
    assert (noted.models["a"].promoting, noted.revision) == ("v2", before.revision)
    assert note_promotion("a", None)(noted) == before
    for name in ("b", "not wanted"):
        assert note_promotion(name, "v2")(before) == before
    changed = pinned(noted, "a", "@production")
    assert changed.models["a"].promoting is None
    back = put_back("a", noted.models["a"], changed.models["a"].revision)(changed)
    assert (back.models["a"].target, back.models["a"].promoting) == ("latest", None)


def test_what_serves_is_remembered_unless_a_later_decision_is() -> None:
    document = DesiredState()
    remembered = []
    for version, number in [("v1", 4), ("v2", 4), ("v2", 6), ("v3", 5), ("v1", 7)]:
        document = record_serving("a", version, "x", number)(document)
        remembered.append((document.models["a"].last_good, document.models["a"].generation))
    assert remembered == [("v1", 4), ("v1", 4), ("v2", 6), ("v2", 6), ("v1", 7)]
    assert document.revision == 0


def test_a_trial_is_over_once_the_candidate_answers_alone() -> None:
    canary = CanaryTarget(version="v7", share=0.1)
    document = set_canary("a", canary, "anna", None)(seeded(("a:@stable", None)))
    document = record_serving("a", "v6", "sha256:6", 1)(document)
    assert document.models["a"].canary == canary
    document = record_serving("a", "v7", "sha256:7", 2)(document)  # the alias has moved
    document = record_serving("a", "v6", "sha256:6", 3)(document)  # and back
    assert document.models["a"].canary is None


def test_who_asks_once_more_for_what_is_wanted_does_not_end_a_trial() -> None:
    canary = CanaryTarget(version="v7", share=0.1)
    trial = set_canary("a", canary, "anna", None)(seeded(("a:v6", None)))
    for edit, kept in (
        (set_target("a", "v6", "ben", None), canary),
        (set_loaded("a", True, "ben", None), canary),
        (set_target("a", "v7", "ben", None), None),
        (set_loaded("a", False, "ben", None), None),
    ):
        assert edit(trial).models["a"].canary == kept


def test_to_end_no_trial_changes_nothing() -> None:
    document = seeded(("a:v1", None))
    for name in ("a", "b"):
        assert set_canary(name, None, "anna", None)(document) is document


def test_serving_a_model_does_not_make_it_wanted() -> None:
    document = record_serving("b", "v1", "x", 1)(seeded(("a:v1", None)))
    assert document.model("b") is None
