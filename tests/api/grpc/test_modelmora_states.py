"""ModelMora's call that tells what becomes of a picture: its states are true when they are told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from api.protos.modelmora_pb2 import InferenceStatus
from hotswap.errors import BadPicture, VersionFailed
from tests.api.grpc.typed import Typed, embedding, typed
from tests.hotswap.fakes import PATIENCE, Hold

pytestmark = pytest.mark.anyio

QUEUED, LOADING, RUNNING = InferenceStatus.QUEUED, InferenceStatus.LOADING, InferenceStatus.RUNNING
DONE, FAILED = InferenceStatus.DONE, InferenceStatus.FAILED


def begin(served: Typed, **more: Any) -> Any:
    """The call."""
    return served.embeddings.GenerateEmbeddingStream(embedding(**more))


async def rest(call: Any) -> list[InferenceStatus]:
    """All that is left, to the end; the call ends OK."""
    found = []
    while (each := await call.read()) is not grpc.aio.EOF:
        found.append(each)
    assert await call.code() is grpc.StatusCode.OK
    return found


async def states(call: Any) -> list[int]:
    """The states of all that is left."""
    return [each.state for each in await rest(call)]


async def test_the_last_word_has_the_vector_and_every_word_the_request_s_id() -> None:
    async with typed("e:v1", codes={"v1": 5}) as served:
        told = await rest(begin(served, request_id="my id"))
    assert [(each.state, each.progress) for each in told] == [(QUEUED, 0.25), (RUNNING, 0.5), (DONE, 1.0)]
    assert {each.request_id for each in told} == {"my id"}
    assert [each.HasField("result") for each in told] == [False, False, True]
    assert (list(told[-1].result.vector), told[-1].result.request_id) == ([5.0, 1.0], "my id")


async def test_it_is_queued_until_a_thread_has_begun_with_it() -> None:
    async with typed("e:held", threads=1) as served:
        hold = served.world.loader.of("held").hold = Hold()
        first = begin(served)
        assert [(await first.read()).state, (await first.read()).state] == [QUEUED, RUNNING]
        await asyncio.to_thread(hold.reached)
        second = begin(served)
        assert (await second.read()).state is QUEUED
        assert served.world.pool.queued == 1
        waiting = asyncio.ensure_future(second.read())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.05)
        hold.let_go()
        assert (await waiting).state is RUNNING
        assert (await states(first), await states(second)) == ([DONE], [DONE])


async def test_it_is_loading_while_the_model_does_not_serve_yet() -> None:
    async with typed() as served:
        hold = await served.loading("e:v1")
        call = begin(served)
        assert (await call.read()).state is LOADING
        assert served.held() == {"waiting": 1}
        hold.let_go()
        assert await states(call) == [QUEUED, RUNNING, DONE]


async def test_it_is_loading_while_the_version_it_asks_for_comes_and_another_serves() -> None:
    async with typed("e:v1") as served:
        hold = await served.loading("e:v2")
        call = begin(served, options={"version": "2"})
        assert (await call.read()).state is LOADING
        hold.let_go()
        told = await rest(call)
        assert [each.state for each in told] == [QUEUED, RUNNING, DONE]
        assert told[-1].result.model_version == "v2"


async def test_a_version_that_is_not_on_its_way_is_not_waited_for() -> None:
    async with typed("e:v1", "e:v2") as served:
        (told,) = await rest(begin(served, options={"version": "v1"}))
    assert (told.state, told.error.partition(":")[0]) == (FAILED, "version_not_loaded")


async def test_a_model_that_fails_to_load_is_told_at_once() -> None:
    async with typed() as served:
        served.world.loader.fails["v1"] = {"load": VersionFailed("no such operator")}
        hold = await served.loading("e:v1")
        call = begin(served)
        assert (await call.read()).state is LOADING
        hold.let_go()
        told = await call.read()
        assert (told.state, told.error.partition(":")[0]) == (FAILED, "model_not_ready")
        assert await states(begin(served)) == [FAILED]
    assert [code for _, _, code in served.refused] == ["model_not_ready"] * 2


async def test_a_model_that_does_not_come_in_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[float] = []
    async with typed(seconds=30.0) as served:
        wait = served.arriving.wait_until_servable

        async def late(model: str | None, version: str | None, deadline: float) -> None:
            due.append(deadline - time.monotonic())
            await wait(model, version, time.monotonic())  # the request's time is over

        monkeypatch.setattr(served.arriving, "wait_until_servable", late)
        hold = await served.loading("e:v1")
        told = await rest(begin(served))
        hold.let_go()
    assert 0 < due[0] < 30
    assert [each.state for each in told] == [LOADING, FAILED]
    assert told[-1].error.startswith("deadline_exceeded: ")


async def test_no_more_callers_wait_for_models_than_there_are_places() -> None:
    async with typed(capacity=1) as served:
        hold = await served.loading("e:v1")
        call = begin(served)
        assert (await call.read()).state is LOADING
        refused = await rest(begin(served))
        assert refused[-1].error.startswith("overloaded: ")
        hold.let_go()
        assert (await states(call))[-1] is DONE


async def test_a_caller_that_leaves_while_a_model_loads_gives_its_place_back() -> None:
    async with typed() as served:
        hold = await served.loading("e:v1")
        call = begin(served)
        await call.read()
        call.cancel()
        await served.nothing_held()
        hold.let_go()


async def test_what_is_refused_was_never_queued() -> None:
    async with typed("e:v1", "eslow:held", capacity=1) as served:
        hold = served.world.loader.of("held").hold = Hold()
        first = begin(served, model="eslow")
        await asyncio.to_thread(hold.reached)
        told = await rest(begin(served))
        assert [(each.state, each.progress) for each in told] == [(FAILED, 0.0)]
        assert told[0].error.startswith("overloaded: ")
        for wrong, code in (
            ({"model": "nobody"}, "model_not_found"),
            ({"options": {"size": "1"}}, "invalid_argument"),
            ({"image_data": b""}, "invalid_argument"),
        ):
            (only,) = await rest(begin(served, **wrong))
            assert (only.state, only.error.partition(":")[0]) == (FAILED, code)
        hold.let_go()
        assert (await states(first))[-1] is DONE


async def test_a_model_of_another_task_fails_before_it_runs() -> None:
    async with typed("det:v1") as served:
        told = await rest(begin(served, model="det"))
    assert [each.state for each in told] == [QUEUED, FAILED]
    assert "not for image-embedding" in told[-1].error


async def test_a_picture_that_cannot_be_read_fails_after_it_ran() -> None:
    async with typed("e:v1") as served:
        served.world.loader.of("v1").fails["predict"] = BadPicture("half of it")
        told = await rest(begin(served))
    assert [(each.state, each.progress) for each in told] == [(QUEUED, 0.25), (RUNNING, 0.5), (FAILED, 0.5)]
    assert told[-1].error == "invalid_image: half of it"


async def test_a_caller_that_leaves_the_queue_gives_its_place_back_and_its_picture_never_runs() -> None:
    async with typed("e:held", threads=1) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        first = begin(served)
        await asyncio.to_thread(runner.hold.reached)
        second = begin(served)
        assert (await second.read()).state is QUEUED
        second.cancel()
        async with asyncio.timeout(PATIENCE):
            while served.world.pool.queued:
                await asyncio.sleep(0.002)
        assert served.held() == {"leases of e": 1, "places": 1}
        runner.hold.let_go()
        assert (await states(first))[-1] is DONE
        assert runner.served == 1
