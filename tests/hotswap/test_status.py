"""What is, as every wire tells it."""

from __future__ import annotations

import pytest

from hotswap.desired import seed
from hotswap.errors import VersionFailed
from hotswap.generation import Generation
from hotswap.reconciler import Reconciler
from hotswap.repository import Incomplete
from hotswap.slot import Slot
from manifest.profiles import ModelProfile
from manifest.tags import ModelTag
from tests.hotswap.world import World


def states(world: World) -> dict[str, str]:
    """State by version, in the order told."""
    return {each.version: each.state for each in world.reconciler.view.model("m").versions}


def test_every_version_has_a_state_in_natural_order() -> None:
    world = World("m:v1", "m:v2", "m:v10", "m:v11")
    world.swap("m", "v1")
    lease = world.reconciler.observed.slots["m"].lease()
    world.swap("m", "v2")
    world.loader.fails["v10"] = {"load": VersionFailed("no")}
    world.swap("m", "v10")
    world.aim("m", "v11")
    world.step()
    assert list(states(world).items()) == [
        ("v1", "draining"),
        ("v2", "serving"),
        ("v10", "failed"),
        ("v11", "loading"),
    ]
    lease.release()
    world.settle()
    assert states(world) == {"v1": "available", "v2": "available", "v10": "failed", "v11": "serving"}


def test_a_closed_version_is_available_again_even_before_it_is_forgotten() -> None:
    world = World("m:v1")
    world.settle()
    seen: list[dict[str, str]] = []
    world.observer.closed = lambda _: seen.append(states(world))  # type: ignore[method-assign]
    world.reconciler.observed.slots["m"].forget = lambda _: seen.append(states(world))  # type: ignore[method-assign]
    world.source.add("m:v2")
    world.settle()
    assert seen == [{"v1": "available", "v2": "serving"}] * 2


def test_other_files_under_the_tag_that_serves_are_said_so_and_change_nothing() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v1", "sha256:2")
    world.settle()
    (version,) = world.reconciler.view.model("m").versions
    assert (version.state, version.digest) == ("serving", "sha256:1")
    assert "other files under this tag" in (version.reason or "")


def test_a_version_that_is_not_whole_is_unservable_and_says_why() -> None:
    world = World("m:v1")
    world.source.settled[ModelTag("m", "v1")] = Incomplete("weights.onnx is missing")
    world.settle()
    (version,) = world.reconciler.view.model("m").versions
    assert (version.state, version.reason) == ("unservable", "weights.onnx is missing")


def test_a_version_whose_files_are_gone_is_listed_as_long_as_it_serves() -> None:
    world = World("m:v1")
    world.settle()
    world.source.remove("m:v1")
    world.settle()
    (version,) = world.reconciler.view.model("m").versions
    assert (version.version, version.state, version.digest) == ("v1", "serving", "sha256:1")


def test_a_model_tells_its_target_what_serves_and_the_revision_of_its_wish() -> None:
    world = World("m:v1", "m:v2")
    world.swap("m", "v1")
    found = world.reconciler.view.model("m")
    assert (found.target, found.serving, found.generation, found.revision) == ("v1", "v1", 1, 1)


def test_a_required_model_that_is_nowhere_is_listed_and_known() -> None:
    world = World("m:v1")
    world.store.edit(seed("m:v1,absent", None))
    world.settle()
    assert [each.name for each in world.reconciler.view.models()] == ["absent", "m"]
    assert world.reconciler.view.known("absent")
    assert not world.reconciler.view.known("nobody")


def test_a_model_that_is_declared_and_nowhere_is_missing_until_it_is_stored() -> None:
    world = World("m:v1", profiles={"m": ModelProfile("m"), "absent": ModelProfile("absent")})
    world.settle()
    view = world.reconciler.view
    assert [(each.name, each.missing) for each in view.models()] == [("absent", True), ("m", False)]
    assert (view.model("absent").reason or "").startswith("missing: ")
    assert view.ready()
    world.source.add("absent:v1")
    world.settle()
    assert [(each.name, each.missing, each.reason) for each in view.models()] == [
        ("absent", False, None),
        ("m", False, None),
    ]


def test_a_version_that_is_other_than_declared_serves_and_says_so() -> None:
    world = World("m:v1", profiles={"m": ModelProfile("m", provider="SAMProvider", families=("sam",))})
    world.settle()
    (version,) = world.reconciler.view.model("m").versions
    assert version.state == "serving"
    assert (version.reason or "").startswith("declared with SAMProvider, but its family is ")


@pytest.mark.parametrize(
    ("serve", "tags", "ready"),
    [
        ("*", (), False),
        ("*", ("a:v1",), True),
        ("a:v1,b:v1", ("a:v1",), False),
        ("a:v1,b:v1", ("a:v1", "b:v1"), True),
        ("a:v1", ("b:v1",), False),
    ],
)
def test_ready_is_who_serves_every_required_model_or_any_where_none_is_named(
    serve: str, tags: tuple[str, ...], ready: bool
) -> None:
    world = World(*tags)
    world.store.edit(seed(serve, None))
    world.settle()
    assert world.reconciler.view.ready() is ready


def test_readiness_does_not_fall_while_a_candidate_loads_or_fails() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.loader.fails["v2"] = {"check": VersionFailed("no")}
    for _ in range(4):
        world.step()
        assert world.reconciler.view.ready()
        world.background.run_all()
        assert world.reconciler.view.ready()


class SlotThatMakesAnother(Slot):
    """While somebody looks at it, the reconciler's thread adds a model."""

    reconciler: Reconciler

    @property
    def current(self) -> Generation | None:
        """Whoever reads this is interrupted just here."""
        self.reconciler.observed.slots[f"new-{len(self.reconciler.observed.slots)}"] = Slot("new")
        return super().current


def test_readiness_can_be_read_while_a_model_is_added() -> None:
    world = World("m:v1")
    world.settle()
    stopped = SlotThatMakesAnother("m")
    stopped.reconciler = world.reconciler
    world.reconciler.observed.slots["n"] = stopped
    assert world.reconciler.view.ready()


def test_a_serving_version_whose_files_are_gone_says_that_it_serves_on() -> None:
    world = World("m:v1")
    world.settle()
    world.source.remove("m:v1")
    world.settle()
    (only,) = world.reconciler.view.model("m").versions
    assert (only.state, "serves on" in str(only.reason)) == ("serving", True)
