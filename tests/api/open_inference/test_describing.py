"""What is told of a model belongs to one version, also when another begins to answer meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest

from api.open_inference.metadata import Models
from hotswap.admission import Admission
from hotswap.dataplane import DataPlane
from hotswap.errors import ModelNotFound, VersionNotFound
from hotswap.predictions import BaseRequest, TensorSpec
from hotswap.threads import InferencePool
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.world import World

pytestmark = pytest.mark.anyio


class Swapped(FakeRunner):
    """While somebody looks at its outputs, another version begins to serve."""

    world: World

    @property  # type: ignore[override]
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The old outputs, after the swap."""
        self.world.swap("m", "v2")
        assert not self.closed
        return (TensorSpec("old", "FP32", (1,)),)

    @outputs.setter
    def outputs(self, _: Any) -> None:
        """Nothing else."""


def served(*tags: str) -> tuple[World, Models, InferencePool]:
    """A world that answers."""
    world = World(*tags)
    world.settle()
    pool = InferencePool(1)
    return (
        world,
        Models(DataPlane(world.reconciler.view, world.reconciler.schedule, Admission(1), pool), "1"),
        pool,
    )


def asked(version: str | None = None) -> BaseRequest:
    return BaseRequest(request_id="r", deadline=time.monotonic() + 60, model="m", version=version)


async def test_a_swap_while_metadata_are_told_mixes_nothing() -> None:
    world, models, pool = served("m:v1")
    world.source.add("m:v2", "sha256:2", latest=False)
    runner = world.loader.of("v1")
    vars(runner).pop("outputs", None)
    runner.__class__ = Swapped
    Swapped.world = world
    found = await models.metadata(asked())
    assert (found.version, found.versions) == ("v1", ("v1",))
    assert found.properties["digest"] == "sha256:1"
    assert [each.name for each in found.outputs] == ["old"]
    world.settle()
    assert (world.serving(), runner.closed, world.loader.misused) == ("v2", 1, [])
    assert (await models.metadata(asked())).properties["digest"] == "sha256:2"
    pool.close(5.0)


async def test_r3_whether_a_model_is_ready_is_told_with_the_reason() -> None:
    world, models, pool = served("m:v1", "m:v2")
    assert models.not_ready("m", None) is None
    assert models.not_ready("m", "2") is None
    assert "v1" in str(models.not_ready("m", "v1"))
    for name, version, kind in (("nobody", None, ModelNotFound), ("m", "v9", VersionNotFound)):
        with pytest.raises(kind):
            models.not_ready(name, version)
    current = world.reconciler.observed.slots["m"].current
    assert current is not None
    assert current.leases == 0
    pool.close(5.0)
