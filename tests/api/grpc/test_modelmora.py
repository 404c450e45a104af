"""ModelMora's calls for one vector and for many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest

from api.protos import modelmora_pb2 as mm
from hotswap.errors import BadPicture, BucketNotAllowed
from tests.api.grpc.typed import Typed, embedding, typed
from tests.hotswap.fakes import Hold

pytestmark = pytest.mark.anyio


async def refusal(served: Typed, request: mm.EmbeddingRequest) -> tuple[grpc.StatusCode, str]:
    """How a unary call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.embeddings.GenerateEmbedding(request)
    return refused.value.code(), refused.value.details() or ""


async def test_a_vector_names_its_request_and_the_model_version_and_digest_that_gave_it() -> None:
    async with typed("e:v1", codes={"v1": 5}) as served:
        answer = await served.embeddings.GenerateEmbedding(embedding("my id"))
    assert (answer.request_id, list(answer.vector), answer.dimension) == ("my id", [5.0, 1.0], 2)
    assert (answer.model_name, answer.model_version, answer.model_digest) == ("e", "v1", "sha256:1")
    assert (answer.inference_time_ms, answer.error) == (1, "")


async def test_the_same_call_answers_without_a_package() -> None:
    async with typed("e:v1") as served:
        call = served.channel.unary_unary(
            "/ModelInference/GenerateEmbedding",
            mm.EmbeddingRequest.SerializeToString,
            mm.EmbeddingResponse.FromString,
        )
        assert (await call(embedding())).model_version == "v1"


async def test_the_call_names_the_version_and_its_id_beside_the_answer_too() -> None:
    async with typed("e:v1") as served:
        call = served.embeddings.GenerateEmbedding(embedding(""), metadata=(("x-request-id", "call-7"),))
        answer, beside = await call, dict(await call.trailing_metadata())
    assert (beside["x-model-version"], beside["x-request-id"]) == ("v1", "call-7")
    assert answer.request_id == "call-7"


async def test_without_a_request_id_and_a_model_name_a_new_id_and_the_default_model_are_taken() -> None:
    async with typed("e:v1") as served:
        answers = [await served.embeddings.GenerateEmbedding(embedding("", "")) for _ in range(2)]
    assert {each.model_name for each in answers} == {"e"}
    assert len({each.request_id for each in answers} - {""}) == 2


async def test_a_model_that_is_no_embedder_is_refused_without_being_run() -> None:
    async with typed("det:v1") as served:
        code, why = await refusal(served, embedding("r1", model="det"))
        assert served.world.loader.of("v1").served == 0
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "det:v1 is a model for object-detection, not for image-embedding" in why
    assert served.refused == [("r1", "det", "invalid_argument")]


async def test_options_are_checked() -> None:
    async with typed("e:v1", "e:v2") as served:
        code, why = await refusal(served, embedding(options={"normalise": "no"}))
        assert (code, "no such option; there is version" in why) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        code, why = await refusal(served, embedding(options={"version": "9"}))
        assert (code, "v9" in why) == (grpc.StatusCode.NOT_FOUND, True)
        code, why = await refusal(served, embedding(options={"version": "x" * 200}))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        for version in ("v2", "2", ""):
            answer = await served.embeddings.GenerateEmbedding(embedding(options={"version": version}))
            assert answer.model_version == "v2"


async def test_a_request_without_a_picture_is_told_which_field_is_empty() -> None:
    async with typed("e:v1") as served:
        code, why = await refusal(served, embedding(image_data=b""))
    assert (code, why[:11]) == (grpc.StatusCode.INVALID_ARGUMENT, "image_data:")


async def batch(served: Typed, *requests: mm.EmbeddingRequest) -> dict[str, mm.EmbeddingResponse]:
    """Every answer of a batch by its request id; the call ends OK."""
    call = served.embeddings.GenerateBatch(mm.BatchRequest(requests=requests))
    answers = [each async for each in call]
    assert await call.code() is grpc.StatusCode.OK
    assert len(answers) == len(requests)
    return {each.request_id: each for each in answers}


async def test_in_a_batch_each_failure_is_a_message_of_its_own_and_the_others_are_answered() -> None:
    async with typed("e:v1", "det:v1", codes={"v1": 5}) as served:
        answers = await batch(
            served,
            embedding("good"),
            embedding("empty", image_data=b""),
            embedding("nobody", model="nobody"),
            embedding("detector", model="det"),
            embedding("option", options={"size": "1"}),
            embedding("good, too"),
        )
    assert {each for each, answer in answers.items() if not answer.error} == {"good", "good, too"}
    assert all(list(answers[each].vector) == [5.0, 1.0] for each in ("good", "good, too"))
    codes = {each: answer.error.partition(":")[0] for each, answer in answers.items() if answer.error}
    assert codes == {
        "empty": "invalid_argument",
        "nobody": "model_not_found",
        "detector": "invalid_argument",
        "option": "invalid_argument",
    }
    failed = [answers[each] for each in codes]
    assert all((len(each.vector), each.dimension, each.model_version) == (0, 0, "") for each in failed)
    assert answers["nobody"].model_name == "nobody"
    assert len(served.refused) == 4


async def test_in_a_batch_a_picture_without_an_id_gets_its_place_as_id() -> None:
    async with typed("e:v1") as served:
        answers = await batch(
            served, embedding(""), embedding("", image_data=b""), embedding("a"), embedding("")
        )
    assert set(answers) == {"0", "1", "a", "3"}
    assert answers["1"].error


async def test_an_empty_batch_ends_at_once() -> None:
    async with typed("e:v1") as served:
        assert await batch(served) == {}


async def test_a_fault_of_the_service_is_told_of_its_picture_alone_and_its_trace_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with typed("e:v1", "ebad:bad") as served:
        served.world.loader.of("bad").fails["predict"] = ZeroDivisionError("secret")
        answers = await batch(served, embedding("a", model="ebad"), embedding("b"))
    assert answers["a"].error.startswith("internal_error: ")
    assert "secret" not in answers["a"].error
    assert not answers["b"].error
    assert "request a" in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_one_slow_picture_stops_no_other_of_its_batch() -> None:
    async with typed("e:v1", "eslow:held", in_flight=2) as served:
        hold = served.world.loader.of("held").hold = Hold()
        requests = [embedding("slow", model="eslow"), *(embedding(f"{number}") for number in range(20))]
        call = served.embeddings.GenerateBatch(mm.BatchRequest(requests=requests))
        quick = [(await call.read()).request_id for _ in range(20)]
        assert quick == [f"{number}" for number in range(20)]
        hold.let_go()
        assert (await call.read()).request_id == "slow"
        assert await call.read() is grpc.aio.EOF


async def test_a_batch_has_no_more_pictures_under_way_than_it_may() -> None:
    async with typed("e:held", threads=8, in_flight=3) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        call = served.embeddings.GenerateBatch(
            mm.BatchRequest(requests=[embedding(f"{number}") for number in range(10)])
        )
        for _ in range(3):
            await asyncio.to_thread(runner.hold.reached)
        assert served.held() == {"leases of e": 3, "places": 3}
        runner.hold.let_go()
        assert sum(not each.error for each in [each async for each in call]) == 10
        assert runner.most_running == 3


async def test_what_is_refused_for_want_of_room_is_told_and_the_rest_of_the_batch_goes_on() -> None:
    async with typed("e:v1", "eslow:held", capacity=1, in_flight=2) as served:
        hold = served.world.loader.of("held").hold = Hold()
        call = served.embeddings.GenerateBatch(
            mm.BatchRequest(
                requests=[embedding("slow", model="eslow"), embedding("refused"), embedding("too")]
            )
        )
        refused = [await call.read() for _ in range(2)]
        assert all(each.error.startswith("overloaded: ") for each in refused)
        hold.let_go()
        assert not (await call.read()).error


async def test_a_cancelled_batch_gives_everything_back_and_begins_nothing_more() -> None:
    async with typed("e:held", threads=1, in_flight=4) as served:
        runner = served.world.loader.of("held")
        runner.hold = Hold()
        call = served.embeddings.GenerateBatch(
            mm.BatchRequest(requests=[embedding(f"{number}") for number in range(10)])
        )
        await asyncio.to_thread(runner.hold.reached)
        assert served.held() == {"leases of e": 4, "places": 4, "queued": 3}
        call.cancel()
        async with asyncio.timeout(20):
            while served.held() != {"leases of e": 1, "places": 1}:  # its thread runs
                await asyncio.sleep(0.002)
        runner.hold.let_go()
        await served.nothing_held()
        assert runner.served == 1


async def test_a_picture_that_is_none_is_told_as_such() -> None:
    async with typed("e:v1") as served:
        served.world.loader.of("v1").fails["predict"] = BadPicture("no picture at all")
        assert await refusal(served, embedding()) == (grpc.StatusCode.INVALID_ARGUMENT, "no picture at all")
        (answer,) = (await batch(served, embedding())).values()
        assert answer.error == "invalid_image: no picture at all"


async def test_a_failure_in_a_batch_names_its_picture_whatever_ids_its_callers_give() -> None:
    async with typed("e:v1", "ebad:bad") as served:
        served.world.loader.of("bad").fails["predict"] = BadPicture("half of it")
        same = [embedding("x"), embedding("x", image_data=b""), embedding("x", model="ebad"), embedding("x")]
        call = served.embeddings.GenerateBatch(mm.BatchRequest(requests=same))
        told = sorted(each.error for each in [each async for each in call])
    assert told[:2] == ["", ""]
    assert told[2].startswith("invalid_argument: picture 2 of 4 (index 1): image_data: empty")
    assert told[3] == "invalid_image: picture 3 of 4 (index 2): half of it"


class Bucket:
    """Objects in memory; what is asked for is noted."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def read(self, bucket: str, key: str, hold: Callable[[int], None]) -> bytes:
        self.asked.append((bucket, key))
        if bucket != "imagery-hot":
            raise BucketNotAllowed(f"bucket {bucket!r} is not read from")
        hold(5)
        return b"right"


@pytest.mark.parametrize("by", ["option", "data"])
async def test_a_picture_may_be_named_instead_of_sent(by: str) -> None:
    uri, bucket = "s3://imagery-hot/a/b.jpg", Bucket()
    asked = embedding("r", options={"image_uri": uri}) if by == "option" else embedding("r")
    asked.image_data = b"" if by == "option" else uri.encode()
    async with typed("e:v1", objects=bucket) as served:
        answer = await served.embeddings.GenerateEmbedding(asked)
        assert served.bodies.held == 0
    assert answer.dimension == 2
    assert bucket.asked == [("imagery-hot", "a/b.jpg")]


@pytest.mark.parametrize(
    ("uri", "data", "code"),
    [
        ("s3://other/a", b"", grpc.StatusCode.PERMISSION_DENIED),
        ("http://localhost/a", b"", grpc.StatusCode.PERMISSION_DENIED),
        ("s3://imagery-hot", b"", grpc.StatusCode.INVALID_ARGUMENT),
        ("s3://imagery-hot/a", b"right", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_picture_is_named_in_an_allowed_bucket_or_not_at_all(
    uri: str, data: bytes, code: grpc.StatusCode
) -> None:
    asked = embedding("r", options={"image_uri": uri})
    asked.image_data = data
    async with typed("e:v1", objects=Bucket()) as served:
        found, _ = await refusal(served, asked)
    assert found is code
