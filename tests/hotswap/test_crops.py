"""A classifier on a detector's boxes: one request holds both versions, and swaps of either lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from hotswap.desired import set_loaded, set_target
from hotswap.errors import ModelNotFound, ModelNotReady, VersionFailed
from hotswap.predictions import Answer, Options, Picture, Predictions
from hotswap.repository import Artifact
from hotswap.runner import Runner
from manifest.crop_config import CropConfig
from manifest.version_manifest import BadManifest, parse_config
from tests.hotswap import fakes
from tests.hotswap import test_resident_models as resident_models
from tests.hotswap.many_models import Crowded
from tests.hotswap.served import Served, tensors
from tests.hotswap.world import LiveWorld, asked, live

pytestmark = pytest.mark.anyio

CODES = {"v1": 101, "v2": 102, "v3": 103, "d1": 201, "d2": 202, "d3": 203}
SWAPS = 60
CLIENTS = 8


def crop_step(
    detector: Runner,
    classifier: Runner,
    artifact: Artifact,
    crop: CropConfig,
    *,
    pictures: Sequence[Picture],
    options: Options,
) -> Predictions:
    """Both are asked; the answer has the codes of both: the label's, and the detector's as its text."""
    (found,) = detector.predict(pictures, options).items
    (answer,) = classifier.predict(pictures, options).items
    label = replace(answer.detections[0], label=str(found.detections[0].label_id))
    return Predictions((replace(answer, detections=(label,)),), answer_timings(classifier, pictures, options))


def answer_timings(classifier: Runner, pictures: Sequence[Picture], options: Options) -> Any:
    return classifier.predict(pictures, options).timings


@pytest.fixture(autouse=True)
def _m_crops_with_d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of model m are classifiers that crop with d."""
    plain = fakes.artifact

    def artifact(tag: Any, digest: str = "sha256:1") -> Artifact:
        made = plain(tag, digest)
        if tag.name not in ("m", "x"):
            return made
        update = {"task": "image-classification", "crop_with": CropConfig(model="d")}
        return replace(made, config=made.config.model_copy(update=update))

    monkeypatch.setattr(fakes, "artifact", artifact)


def _served(*tags: str) -> Served:
    world = Served(*tags)
    world.plane._crop_step = crop_step
    world.loader.codes.update(CODES)
    world.settle()
    return world


async def test_a_detector_that_is_not_in_memory_is_brought() -> None:
    world = Crowded("d:d1", "m:v1", "n:v1")
    world.plane._crop_step = crop_step
    world.loader.codes.update(CODES)
    world.settle()
    await world.plane.predict(asked("m"))
    for name in "dm":  # d was used least recently
        world.reconciler.observed.slots[name].lease().release()
    await resident_models.answer(world, "n")
    assert world.loaded() == ["m", "n"]
    assert world.reconciler.view.crop_trouble("m") is None
    answer = await resident_models.answer(world, "m")
    assert answer.detector is not None
    assert (answer.version, answer.detector.version, world.loaded()) == ("v1", "d1", ["d", "m"])
    await world.end()


async def test_an_answer_names_both_versions_and_has_boxes() -> None:
    world = _served("m:v1", "d:d1")
    answer = await world.plane.predict(asked())
    assert (answer.model, answer.version, answer.task) == ("m", "v1", "object-detection")
    assert answer.detector is not None
    assert (answer.detector.model, answer.detector.version) == ("d", "d1")
    (found,) = answer.predictions[0].detections
    assert (found.label_id, found.label) == (101, "201")
    await world.end()


async def test_both_are_given_back_and_so_is_the_place() -> None:
    world = _served("m:v1", "d:d1")
    await world.plane.predict(asked())
    slots = world.reconciler.observed.slots
    assert [each.leases for name in ("m", "d") for each in slots[name]] == [0, 0]
    await world.end()


async def test_a_plain_model_names_no_detector() -> None:
    world = _served("m:v1", "d:d1")
    assert (await world.plane.predict(asked("d"))).detector is None
    await world.end()


async def test_tensors_are_for_the_graph_itself() -> None:
    world = _served("m:v1")
    assert (await world.plane.infer(tensors())).task == "image-classification"
    await world.end()


@pytest.mark.parametrize("unload", [False, True])
async def test_a_detector_that_does_not_serve_is_not_the_callers_fault(unload: bool) -> None:
    world = _served("m:v1", *(["d:d1"] if unload else []))
    if unload:
        world.store.edit(set_loaded("d", False, "test", None))
        world.settle()
    with pytest.raises(ModelNotReady, match="m:v1 crops with d"):
        await world.plane.predict(asked())
    assert world.reconciler.observed.slots["m"].current is not None
    assert world.reconciler.observed.slots["m"].current.leases == 0
    with pytest.raises(ModelNotFound):
        await world.plane.predict(asked("nobody"))
    await world.end()


MISFITS = pytest.mark.parametrize(
    ("detector", "crop", "why"),
    [
        (
            {"task": "image-embedding"},
            {},
            "model: d:d1 is a model for image-embedding; allowed are object-det",
        ),
        ({"task": "open-vocabulary-detection"}, {}, "text_prompt: missing; d:d1 must be told"),
        ({}, {"text_prompt": "bird ."}, "text_prompt: d:d1 takes none"),
        ({"labels": ["bird"]}, {"labels": ["bird", "brid"]}, "labels: d:d1 has no label 'brid'"),
        ({}, {"model": "m"}, "model: m names itself"),
    ],
)


def _changed(world: Served, detector: dict[str, Any], crop: dict[str, Any]) -> None:
    """Give the serving versions of d and m other configs."""
    changes = {"d": detector, "m": {"crop_with": CropConfig(**{"model": "d", **crop})}}
    for name, change in changes.items():
        current = world.reconciler.observed.slots[name].current
        assert current is not None
        config = current.artifact.config.model_copy(update=change)
        current.artifact = replace(current.artifact, config=config)


@MISFITS
async def test_a_detector_that_does_not_fit_is_told(
    detector: dict[str, Any], crop: dict[str, Any], why: str
) -> None:
    world = _served("m:v1", "d:d1")
    _changed(world, detector, crop)
    with pytest.raises(VersionFailed, match=f"crop_with.{why}"):
        await world.plane.predict(asked())
    for name in ("d", "m"):
        current = world.reconciler.observed.slots[name].current
        assert current is not None
        assert current.leases == 0
    await world.end()


def _reasons(world: Served, name: str = "m") -> dict[str, str | None]:
    return {each.version: each.reason for each in world.reconciler.view.model(name).versions}


@MISFITS
def test_an_operator_sees_a_detector_that_does_not_fit(
    detector: dict[str, Any], crop: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = _served("m:v1", "d:d1")
    assert _reasons(world) == {"v1": None}
    _changed(world, detector, crop)
    assert str(_reasons(world)["v1"]).startswith(f"crop_with.{why}")
    assert _reasons(world, "d") == {"d1": None}
    for _ in range(3):
        world.step()
    warnings = [each.getMessage() for each in caplog.records if "crop_with" in each.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"m: crop_with.{why}")


def test_a_missing_detector_is_seen_until_it_serves(caplog: pytest.LogCaptureFixture) -> None:
    world = _served("m:v1")
    assert _reasons(world) == {"v1": "crop_with.model: there is no model 'd'"}
    assert [each.levelname for each in caplog.records if "crop_with" in each.getMessage()] == ["WARNING"]
    world.source.add("d:d1")
    world.settle()
    assert _reasons(world) == {"v1": None}
    world.store.edit(set_loaded("d", False, "test", None))
    world.settle()
    assert _reasons(world) == {"v1": "crop_with.model: no version of d serves"}
    assert len([each for each in caplog.records if "crop_with" in each.getMessage()]) == 2


def test_a_detector_of_the_first_looks_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """The classifier may be loaded before it."""
    world = _served("d:d1", "m:v1")
    assert _reasons(world) == {"v1": None}
    assert not [each for each in caplog.records if "crop_with" in each.getMessage()]


class Clients:
    """Ask until told to stop, and keep every answer."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world
        self.stop = False
        self.answers: list[Answer] = []

    async def ask_on(self) -> None:
        """The next request follows the answer of the one before."""
        while not self.stop:
            self.answers.append(await self._world.data_plane.predict(asked()))

    async def answered(self, more: int) -> None:
        """Wait for so many answers more."""
        goal = len(self.answers) + more
        while len(self.answers) < goal:
            await checkpoint()


async def _flip(world: LiveWorld, clients: Clients) -> None:
    """Swap the one, the other, or both at once."""
    view = world.reconciler.view
    for number in range(SWAPS):
        wanted = {"m": f"v{number % 3 + 1}", "d": f"d{(number // 2) % 3 + 1}"}
        for name, version in wanted.items():
            world.store.edit(set_target(name, version, "test", None))
        world.reconciler.wake()
        assert await view.wait_until(
            lambda wanted=wanted: all(world.serving(name) == version for name, version in wanted.items()), 5.0
        )
        await clients.answered(2 * CLIENTS)
    clients.stop = True


@pytest.mark.slow
async def test_swaps_of_both_under_load_lose_nothing_and_every_answer_names_who_gave_it() -> None:
    tags = ("m:v3", "m:v2", "m:v1", "d:d3", "d:d2", "d:d1")
    with live(*tags, codes=CODES) as world:
        world.data_plane._crop_step = crop_step
        view = world.reconciler.view
        assert await view.wait_until(lambda: world.serving("m") == "v1" and world.serving("d") == "d1", 5.0)
        clients = Clients(world)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(clients.ask_on())
            tasks.create_task(_flip(world, clients))
        assert await view.wait_until(lambda: view.idle, 5.0)
    assert len(clients.answers) >= 2 * CLIENTS * SWAPS
    pairs = set()
    for answer in clients.answers:
        assert answer.detector is not None
        (found,) = answer.predictions[0].detections
        assert (found.label_id, found.label) == (
            CODES[answer.version],
            str(CODES[answer.detector.version]),
        )
        pairs.add((answer.version, answer.detector.version))
    assert len(pairs) > 5


def test_only_classifiers_crop() -> None:
    document = (
        '{"task": "%s", "family": "f", "input": {"width": 8, "height": 8}, "crop_with": {"model": "d"%s}}'
    )
    config = parse_config(document % ("image-classification", ""))
    assert (config.answers_as, config.crop_with and config.crop_with.margin) == ("object-detection", 0.1)
    for task, more, word in (
        ("image-embedding", "", "does not classify"),
        ("image-classification", ', "margin": 3', "margin"),
        ("image-classification", ', "boxes": 3', "boxes"),
    ):
        with pytest.raises(BadManifest, match=word):
            parse_config(document % (task, more))
