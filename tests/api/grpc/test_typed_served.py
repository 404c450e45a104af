"""The typed services on the real service: as over HTTP, and unharmed by swaps."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import grpc
import pytest

from api.protos import modelmora_pb2 as mm
from api.protos import predictor_pb2 as pb
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from api.protos.predictor_pb2_grpc import PredictorStub
from tests import builders
from tests.api.grpc.typed_load import TypedLoad
from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start, services
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

#: An embedder whose vector is not brought to length 1: its first value tells the code.
EMBEDDER = {
    "task": "image-embedding",
    "family": "embedder",
    "output": {"names": ["scores"], "parameters": {"l2": False}},
    "labels": [],
}
JPEG = picture()


def told(vector: Iterable[float]) -> str:
    """The version whose weights made a vector."""
    return f"v{builders.code_of(next(iter(vector)))}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a classifier `m` and an embedder `e`."""
    scratch = tmp_path_factory.mktemp("typed")
    store = Store(scratch / "home", scratch)
    store.add("v1", 1)
    store.add("v2", 2)
    store.add("v1", 3, "e", config=EMBEDDER)
    with contextmanager(services)() as make:
        yield make(store.home, OKAWARI_MAX_PIXELS="1000000", OKAWARI_DEFAULT_MODEL="m").ready()


@pytest.fixture
def channel(served: Service) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with grpc.insecure_channel(served.grpc_address) as found:
        yield found


def test_an_answer_is_that_of_http(served: Service, channel: grpc.Channel) -> None:
    for model in ("m", "e"):
        answer = PredictorStub(channel).Predict(pb.PredictRequest(image=JPEG, model=model), timeout=60)
        over_http = served.predict(JPEG, model=model).json()
        for name in ("model", "model_version", "model_digest", "generation", "task", "scores", "embedding"):
            found = getattr(answer, name)
            assert (list(found) if isinstance(over_http[name], list) else found) == over_http[name], name
        labels = [(each.label, each.label_id, each.score, list(each.bbox)) for each in answer.detections]
        assert labels == [
            (each["label"], each["label_id"], each["score"], each["bbox"] or [])
            for each in over_http["detections"]
        ]
        assert {"width": answer.image.width, "height": answer.image.height} == over_http["image"]
        assert answer.timings_ms.total > answer.timings_ms.inference > 0


def test_the_list_of_models_is_that_of_http(served: Service, channel: grpc.Channel) -> None:
    found = PredictorStub(channel).ListModels(pb.ListModelsRequest(), timeout=60)
    over_http = served.get("/models").json()
    assert found.default == over_http["default"] == "m"
    assert (
        [each.name for each in found.models] == [each["name"] for each in over_http["models"]] == ["e", "m"]
    )
    for ours, other in zip(found.models, over_http["models"], strict=True):
        assert (ours.target, ours.serving, ours.generation, ours.revision) == (
            *(other["target"], other["serving"]),
            *(other["generation"], other["revision"]),
        )
        for version, expected in zip(ours.versions, other["versions"], strict=True):
            assert version.created.ToJsonString() == expected.pop("created")
            del expected["gate"]  # which is HTTP's alone
            words = ("version", "digest", "state", "size_bytes", "device", "device_reason")
            assert {word: getattr(version, word) or None for word in words} | {"reason": None} == expected


WRONG = {
    "no picture": (b"no picture", "INVALID_ARGUMENT"),
    "half a picture": (JPEG[: len(JPEG) // 2], "INVALID_ARGUMENT"),
    "empty": (b"", "INVALID_ARGUMENT"),
    "a format that is not read": (picture("GIF"), "INVALID_ARGUMENT"),
    "too many pixels": (picture("PNG", (1001, 1001)), "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_picture_that_cannot_be_read_is_the_caller_s_fault_in_every_call(
    channel: grpc.Channel, what: str
) -> None:
    image, code = WRONG[what]
    vectors, cameras = ModelInferenceStub(channel), PredictorStub(channel)
    wanted = mm.EmbeddingRequest(request_id="r", image_data=image, model_name="e")
    for call, request in (
        (vectors.GenerateEmbedding, wanted),
        (cameras.Predict, pb.PredictRequest(image=image)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=60)
        assert refused.value.code().name == code
    (one,) = vectors.GenerateBatch(mm.BatchRequest(requests=[wanted]), timeout=60)
    last = list(vectors.GenerateEmbeddingStream(wanted, timeout=60))[-1]
    (reply,) = cameras.PredictStream(iter([pb.PredictRequest(image=image)]), timeout=60)
    codes = {one.error.partition(":")[0], last.error.partition(":")[0], reply.error.code}
    assert len(codes) == 1
    assert codes <= {"invalid_image", "invalid_argument", "unsupported_media_type", "image_too_large"}


def test_calls_are_counted_with_those_of_http(served: Service, channel: grpc.Channel) -> None:
    def count(status: str, model: str = "e") -> float:
        return served.figure("inference_requests_total", model=model, status=status)

    before = count("ok"), count("invalid_image"), count("invalid_argument", "m")
    good = mm.EmbeddingRequest(image_data=JPEG, model_name="e")
    bad = mm.EmbeddingRequest(image_data=b"no picture", model_name="e")
    other = mm.EmbeddingRequest(image_data=JPEG, model_name="m")
    batch = mm.BatchRequest(requests=[good, bad, other, good])
    assert len(list(ModelInferenceStub(channel).GenerateBatch(batch, timeout=60))) == 4
    after = count("ok"), count("invalid_image"), count("invalid_argument", "m")
    assert [now - then for then, now in zip(before, after, strict=True)] == [2, 1, 1]


@pytest.mark.anyio
@pytest.mark.parametrize("workers", [1, 2])
async def test_swaps_under_load_over_both_wires_fail_nothing_and_no_answer_lies(
    make_service: Start, store: Store, workers: int
) -> None:
    store.add("v1", 1, "e", config=EMBEDDER)
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=str(workers), OKAWARI_MAX_CONCURRENT_REQUESTS="500")
    await asyncio.to_thread(service.ready)
    with Load(service, kept=1, fresh=1) as load:
        async with AsyncExitStack() as stack:
            loads = [await stack.enter_async_context(_load(service)) for _ in range(workers)]
            for number in range(2, SIZES.swaps + 2):
                await asyncio.to_thread(store.add, f"v{number}", number, "e", config=EMBEDDER)
                await asyncio.to_thread(store.add, f"v{number}", number)
                for each in loads:
                    await each.sees(f"v{number}")
            await asyncio.to_thread(load.sees, f"v{SIZES.swaps + 1}")
    answered = {kind: sum(each.answered[kind] for each in loads) for kind in loads[0].answered}
    print(f"{workers} workers, {SIZES.swaps} swaps of two models: gRPC {answered}, HTTP {len(load.shots)}")
    assert [each.failures + each.contradictions for each in loads] == [[]] * workers
    assert (load.failures, load.contradictions) == ([], [])
    assert all(len(each.versions) == SIZES.swaps + 1 for each in loads)
    assert set(answered) == {"unary", "plain", "batch", "states", "predict", "stream"}


def test_a_service_that_ends_answers_what_cameras_have_sent_and_sends_them_elsewhere(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    with ThreadPoolExecutor(4) as threads:
        cameras = [Camera(service) for _ in range(4)]
        sending = [threads.submit(each.send) for each in cameras]
        until(lambda: min(each.answered for each in cameras) >= 20, "every camera has answers")
        service.signal(signal.SIGTERM)
        ends = [each.result(60) for each in sending]
    assert service.ended() == 0
    assert [each.failed for each in cameras] == [[]] * 4
    assert [code for code, _ in ends] == [grpc.StatusCode.UNAVAILABLE] * 4
    assert all("open another stream" in details for _, details in ends)


class Camera:
    """Sends pictures for ever, over a connection of its own.

    It is one of the library's threads: its asyncio client calls a write that comes too late INTERNAL.
    """

    def __init__(self, service: Service) -> None:
        self._address = service.grpc_address
        self.answered = 0
        self.failed: list[str] = []

    def send(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ended."""
        with grpc.insecure_channel(self._address, _OWN) as channel:
            stream = PredictorStub(channel).PredictStream(self._pictures())
            try:
                for reply in stream:
                    if reply.request_id != f"{self.answered}" or reply.error.code:
                        self.failed.append(f"{reply.request_id} {reply.error.code}")
                    self.answered += 1
            except grpc.RpcError:
                pass
            return stream.code(), stream.details()

    @staticmethod
    def _pictures() -> Iterator[pb.PredictRequest]:
        for number in itertools.count():
            yield pb.PredictRequest(request_id=f"{number}", image=JPEG)


#: A connection of its own: with several workers each may come to another one.
_OWN = (("grpc.use_local_subchannel_pool", 1),)


@asynccontextmanager
async def _load(service: Service) -> AsyncIterator[TypedLoad]:
    """Load over a connection of its own."""
    async with grpc.aio.insecure_channel(service.grpc_address, _OWN) as channel:
        load = TypedLoad(channel, told, JPEG)
        async with load.running():
            yield load
