"""A model that follows an alias serves the version which the alias names in the registry, and moves along."""

from __future__ import annotations

import logging

import pytest

from hotswap.control import TargetChange
from hotswap.desired import seed
from hotswap.errors import BadRequest, VersionNotFound
from hotswap.repository import ModelInfo, VersionInfo, resolve
from manifest.tags import BadTag, as_target
from tests.hotswap.world import World, live

_VERSIONS = {version: VersionInfo(version) for version in ("v1", "v2")}
_INFO = ModelInfo("m", "v2", _VERSIONS, None, {"production": "v1", "canary": "v2", "lost": "v9"})


@pytest.mark.parametrize(
    ("text", "target"),
    [("@production", "@production"), (" @Canary ", "@canary"), ("Latest", "latest"), (3, "v3")],
)
def test_a_target_is_latest_an_alias_or_a_version(text: str | int, target: str) -> None:
    assert as_target(text) == target


@pytest.mark.parametrize("text", ["@", "@@production", "@a/b", "a@b", "@" + "a" * 64])
def test_what_can_be_no_alias_is_no_target(text: str) -> None:
    with pytest.raises(BadTag, match="@production"):
        as_target(text)


@pytest.mark.parametrize(("target", "version"), [("@production", "v1"), ("@canary", "v2"), ("latest", "v2")])
def test_an_alias_means_the_version_that_the_registry_says(target: str, version: str) -> None:
    assert resolve(target, _INFO).version == version


@pytest.mark.parametrize(
    ("target", "words"),
    [("@staging", "alias staging"), ("@lost", "version v9, which @lost names, is not in the store")],
)
def test_an_alias_that_names_nothing_servable_says_why(target: str, words: str) -> None:
    found = resolve(target, _INFO)
    assert found.version is None
    assert words in (found.reason or "")


def test_what_follows_production_moves_when_it_is_promoted_and_not_when_something_is_imported() -> None:
    world = World("m:v1", "m:v2")
    world.source.aliases = {"m": {"production": "v1"}}
    world.store.edit(seed("m:@production", None))
    world.settle()
    assert world.serving() == "v1"
    world.source.add("m:v3")
    world.settle()
    assert world.serving() == "v1"
    world.source.aliases = {"m": {"production": "v3"}}
    world.settle()
    assert world.serving() == "v3"
    world.source.aliases = {}
    world.settle()
    assert world.serving() == "v3", "what serves stays when nothing is production any more"


def test_a_model_without_a_production_version_is_not_ready_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("m:v1")
    world.store.edit(seed("m:@production", None))
    with caplog.at_level(logging.WARNING):
        world.settle()
        world.settle()
    view = world.reconciler.view
    sentence = "No production model found in registry for m"
    assert (world.serving(), view.ready(), view.reason("m")) == (None, False, sentence)
    assert view.model("m").reason == sentence
    assert sum(sentence in record.getMessage() for record in caplog.records) == 1
    world.source.aliases = {"m": {"production": "v1"}}
    world.settle()
    assert (world.serving(), view.ready(), view.reason("m")) == ("v1", True, None)


@pytest.mark.anyio
async def test_the_api_takes_an_alias_that_names_a_version_and_refuses_others() -> None:
    with live("m:v1", "m:v2") as world:
        world.source.aliases = {"m": {"canary": "v1"}}
        assert await world.reconciler.view.wait_until(lambda: world.serving() == "v2", 5.0)
        assert await world.control.set_target(TargetChange("m", "@canary", "ann"), 5.0)
        assert world.serving() == "v1"
        assert world.store.read().models["m"].target == "@canary"
        with pytest.raises(VersionNotFound, match="No production model found"):
            await world.control.set_target(TargetChange("m", "@production", "ann"), 5.0)
        with pytest.raises(BadRequest):
            await world.control.set_target(TargetChange("m", "@a/b", "ann"), 5.0)
        assert world.store.read().models["m"].target == "@canary"
