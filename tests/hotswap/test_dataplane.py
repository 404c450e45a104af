"""A request is answered by whoever serves, or told why not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hotswap.desired import seed
from hotswap.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotReady,
    ModelRequired,
    ServingError,
    VersionFailed,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.events import Observer, Recorder
from hotswap.predictions import Answer, TensorAnswer
from tests.hotswap.served import Served, tensors
from tests.hotswap.world import asked

pytestmark = pytest.mark.anyio


async def test_an_answer_names_the_version_the_digest_and_the_generation_that_gave_it() -> None:
    world = Served("m:v1")
    world.source.add("m:v2", "sha256:2")
    world.loader.codes = {"v1": 1, "v2": 2}
    world.settle()
    answer = await world.plane.predict(asked())
    assert (answer.version, answer.digest, answer.generation) == ("v2", "sha256:2", 1)
    assert answer.predictions[0].detections[0].label_id == 2
    await world.end()


async def test_tensors_are_answered_by_whoever_serves_and_named_as_pictures_are() -> None:
    world = Served("m:v1")
    world.source.add("m:v2", "sha256:2")
    world.loader.codes = {"v2": 2}
    world.settle()
    answer = await world.plane.infer(tensors())
    assert (answer.version, answer.digest, answer.generation) == ("v2", "sha256:2", 1)
    assert answer.tensors["code"].tolist() == [2.0, 2.0]
    await world.end()


async def code_of(world: Served, model: str | None, version: str | None) -> str:
    """How a request is refused."""
    with pytest.raises(ServingError) as refused:
        await world.plane.predict(asked(model, version))
    return refused.value.code


async def test_each_way_to_miss_a_model_has_its_own_answer() -> None:
    world = Served("m:v1", "m:v2", "other:v1", "failing:v1")
    world.store.edit(seed("m:v2,failing:v1,absent:v1", None))
    world.source.settled.clear()
    world.source.models["failing"] = {}
    world.settle()
    assert await code_of(world, "nobody", None) == ModelNotFound.code
    assert await code_of(world, "other", None) == VersionNotLoaded.code
    assert await code_of(world, "absent", None) == ModelNotReady.code
    assert await code_of(world, "m", "v1") == VersionNotLoaded.code
    assert await code_of(world, "m", "v3") == VersionNotFound.code
    assert await code_of(world, "m", "1") == VersionNotLoaded.code
    assert await code_of(world, "nobody", "v1") == ModelNotFound.code
    await world.end()


async def test_who_asks_for_a_model_whose_only_version_failed_is_told_so() -> None:
    world = Served("m:v1")
    world.step()
    with pytest.raises(ModelNotReady, match="serving yet; retry shortly"):
        world.plane.router.lease("m", None)
    world.loader.fails["v1"] = {"check": VersionFailed("odd outputs")}
    world.settle()
    with pytest.raises(ModelNotReady, match="m:v1 failed; GET /models and the log say why"):
        await world.plane.predict(asked())
    await world.end()


async def test_a_version_that_drains_is_not_loaded_even_when_its_files_are_gone() -> None:
    world = Served("m:held")
    world.settle()
    task = await world.held()
    world.source.add("m:v2")
    world.settle()
    world.source.remove("m:held")
    world.step()
    assert await code_of(world, "m", "held") == VersionNotLoaded.code
    world.hold.let_go()
    await task
    await world.end()


async def test_without_a_name_the_default_model_answers_if_there_is_one() -> None:
    world = Served("a:v1", "b:v1")
    world.settle()
    with pytest.raises(ModelRequired):
        await world.plane.predict(asked(None))
    world.source.add("shapes:v1")
    world.settle()
    assert (await world.plane.predict(asked(None))).model == "shapes"
    await world.end()


async def test_a_time_out_of_the_model_s_own_is_not_taken_for_the_deadline() -> None:
    world = Served("m:v1")
    world.loader.fails["v1"] = {"predict": TimeoutError("a device did not answer")}
    world.settle()
    with pytest.raises(TimeoutError, match="device"):
        await world.plane.predict(asked())
    await world.end()


class Counting(Observer):
    """Counts outcomes; `harm` is what it raises when it is told of an answer."""

    def __init__(self, harm: Exception | None = None) -> None:
        self.outcomes: list[str] = []
        self._harm = harm

    def predicted(self, answer: Answer | TensorAnswer) -> None:
        """See `Observer`."""
        self.outcomes.append(answer.version)
        if self._harm is not None:
            raise self._harm

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """See `Observer`."""
        self.outcomes.append(f"{request_id} {model} {error.code} {seconds > 0}")


def fails_to_give(recorder: Recorder, answer: Answer | TensorAnswer, error: BaseException) -> None:
    """An inference that the core has answered, and that ends in `error`."""
    with recorder.inference("r", "m") as outcome:
        outcome.answer = answer
        raise error


async def test_an_observer_that_raises_harms_no_answer() -> None:
    world = Served("m:v1")
    world.settle()
    counting = Counting(RuntimeError("no"))
    with Recorder(counting).inference("r", "m") as outcome:
        outcome.answer = await world.plane.predict(asked())
    assert counting.outcomes == ["v1"]
    await world.end()


async def test_an_answer_counts_when_it_is_given_and_not_when_its_wire_cannot_carry_it() -> None:
    world = Served("m:v1")
    world.settle()
    counting = Counting()
    recorder = Recorder(counting)
    for asking in (world.plane.predict(asked()), world.plane.infer(tensors())):
        answer: Answer | TensorAnswer = await asking
        with pytest.raises(BadRequest):
            fails_to_give(recorder, answer, BadRequest("JSON cannot carry that"))
        assert counting.outcomes == ["r m invalid_argument True"]
        with pytest.raises(RuntimeError):
            fails_to_give(recorder, answer, RuntimeError("can't start new thread"))
        with recorder.inference("r", "m"):
            pass  # no model was asked
        with recorder.inference("r", "m") as outcome:
            outcome.answer = answer
            assert len(counting.outcomes) == 1
        assert counting.outcomes.pop() == "v1"
        counting.outcomes.clear()
    await world.end()


async def test_a_caller_that_leaves_while_the_answer_is_written_was_answered() -> None:
    world = Served("m:v1")
    world.settle()
    counting = Counting()
    answer = await world.plane.predict(asked())
    with pytest.raises(asyncio.CancelledError):
        fails_to_give(Recorder(counting), answer, asyncio.CancelledError())
    assert counting.outcomes == ["v1"]
    await world.end()


async def test_a_request_hears_when_a_thread_begins_with_it_and_not_while_it_waits_for_one() -> None:
    world = Served("m:held", threads=1)
    world.settle()
    begun: list[str] = []

    def ask(name: str) -> asyncio.Task[Answer]:
        request = replace(asked(), begun=lambda: begun.append(name))
        return asyncio.create_task(world.plane.predict(request))

    first, second = ask("first"), ask("second")
    await asyncio.to_thread(world.hold.reached)
    assert (begun, world.pool.queued) == (["first"], 1)
    world.hold.let_go()
    await asyncio.gather(first, second)
    assert begun == ["first", "second"]
    await world.end()


async def test_a_model_of_another_task_than_the_request_is_for_does_not_run() -> None:
    world = Served("m:v1", capacity=1)
    world.settle()
    begun: list[bool] = []
    request = replace(asked(), task="image-embedding", begun=lambda: begun.append(True))
    with pytest.raises(BadRequest, match="m:v1 is a model for object-detection, not for image-embedding"):
        await world.plane.predict(request)
    assert (world.loader.of("v1").served, begun, world.admission.inside) == (0, [], 0)
    assert (await world.plane.predict(replace(request, task="object-detection"))).version == "v1"
    assert begun == [True]
    await world.end()
