"""A promotion that was cut off between registry and target: completed where the registry says it was made."""

from __future__ import annotations

import pytest

from hotswap.desired import note_promotion, set_target
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry
from registry.promotion import finish_promotions
from tests.support.desired_memory import DesiredMemory
from tests.support.registry_memory import RegistryMemory


@pytest.fixture
def registry() -> ModelRegistry:
    """Version v1 is production."""
    made = ModelRegistry(RegistryMemory())
    for version in (1, 2):
        made.register("m", version, f"models/m/v{version}")
    made.activate("m", 1)
    return made


@pytest.fixture
def desired() -> DesiredMemory:
    return DesiredMemory()


@pytest.mark.parametrize(("promoting", "target"), [("v1", "@production"), ("v2", "latest")])
def test_what_was_made_is_followed_and_what_was_not_is_forgotten(
    registry: ModelRegistry, desired: DesiredMemory, promoting: str, target: str
) -> None:
    desired.edit(note_promotion("m", promoting))
    finish_promotions(desired, lambda: registry)
    model = desired.read().models["m"]
    assert (model.target, model.promoting) == (target, None)


def test_without_a_registry_the_note_stays(desired: DesiredMemory) -> None:
    desired.edit(note_promotion("m", "v1"))

    def away() -> ModelRegistry:
        raise RegistryUnavailable("it is away")

    with pytest.raises(RegistryUnavailable):
        finish_promotions(desired, away)
    assert desired.read().models["m"].promoting == "v1"


def test_who_follows_something_else_since_is_left_alone(
    registry: ModelRegistry, desired: DesiredMemory
) -> None:
    desired.edit(note_promotion("m", "v1"))
    desired.edit(set_target("m", "latest", "ann", None))
    finish_promotions(desired, lambda: registry)
    assert desired.read().models["m"].target == "latest"
