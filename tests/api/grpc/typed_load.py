"""Load over both typed services, and what became of each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from api.protos import modelmora_pb2 as mm
from api.protos import predictor_pb2 as pb
from api.protos.modelmora_pb2_grpc import ModelInferenceStub
from api.protos.predictor_pb2_grpc import PredictorStub

#: Which version an answer's vector was made by, if the models tell it.
Told = Callable[[Iterable[float]], str]
#: Pictures that a camera has sent and that are not answered yet: more than the service has under way. Without
#: a bound the connection's window fills with thousands, which are all answered before the load ends.
_AHEAD = 20


@dataclass
class TypedLoad:
    """Every call of both services but ListModels, again and again; `answered` is by kind of call."""

    channel: grpc.aio.Channel
    told: Told
    picture: bytes = b"picture"
    model: str = "e"
    answered: dict[str, int] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    _ending: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TypedLoad]:
        """It runs meanwhile, and every request has been answered afterwards."""
        kinds = (self._unary, self._plain, self._batch, self._states, self._predict, self._stream)
        clients = [asyncio.create_task(self._again(kind)) for kind in kinds]
        try:
            yield self
        finally:
            self._ending = True
            await asyncio.gather(*clients)

    async def sees(self, version: str) -> None:
        """Wait until a version has answered, and every kind of call was answered after that."""
        while version not in self.versions:
            self._still_well()
            await asyncio.sleep(0.002)
        before = dict(self.answered)
        while any(self.answered[kind] <= count for kind, count in before.items()):
            self._still_well()
            await asyncio.sleep(0.002)

    def _still_well(self) -> None:
        assert self.failures == []

    async def _again(self, kind: Callable[[], Any]) -> None:
        while not self._ending:
            try:
                await kind()
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{kind.__name__}: {error.code()} {error.details()}")

    def _count(self, kind: str, version: str, vector: Iterable[float], error: str = "") -> None:
        if error:
            self.failures.append(f"{kind}: {error}")
            return
        self.answered[kind] = self.answered.get(kind, 0) + 1
        self.versions.add(version)
        if self.told(vector) != version:
            self.contradictions.append(f"{kind}: {version} answered what {self.told(vector)} says")

    def _wanted(self, request_id: str) -> mm.EmbeddingRequest:
        return mm.EmbeddingRequest(request_id=request_id, image_data=self.picture, model_name=self.model)

    async def _unary(self) -> None:
        answer = await ModelInferenceStub(self.channel).GenerateEmbedding(self._wanted("u"))
        self._count("unary", answer.model_version, answer.vector, answer.error)

    async def _plain(self) -> None:
        call = self.channel.unary_unary(
            "/ModelInference/GenerateEmbedding",
            mm.EmbeddingRequest.SerializeToString,
            mm.EmbeddingResponse.FromString,
        )
        answer = await call(self._wanted("p"))
        self._count("plain", answer.model_version, answer.vector, answer.error)

    async def _batch(self) -> None:
        ids = [f"{number}" for number in range(5)]
        request = mm.BatchRequest(requests=[self._wanted(each) for each in ids])
        answers = [each async for each in ModelInferenceStub(self.channel).GenerateBatch(request)]
        for answer in answers:
            self._count("batch", answer.model_version, answer.vector, answer.error)
        if sorted(each.request_id for each in answers) != ids:
            self.failures.append(f"batch: answered were {[each.request_id for each in answers]}")

    async def _states(self) -> None:
        call = ModelInferenceStub(self.channel).GenerateEmbeddingStream(self._wanted("s"))
        last = [each async for each in call][-1]
        self._count("states", last.result.model_version, last.result.vector, last.error)

    async def _predict(self) -> None:
        answer = await PredictorStub(self.channel).Predict(self._seen("d"))
        self._count("predict", answer.model_version, answer.embedding)

    async def _stream(self) -> None:
        room = asyncio.Semaphore(_AHEAD)

        async def camera() -> AsyncIterator[pb.PredictRequest]:
            number = 0
            while not self._ending:
                await room.acquire()
                yield self._seen(f"{number}")
                number += 1

        number = 0
        async for reply in PredictorStub(self.channel).PredictStream(camera()):
            room.release()
            answer = reply.answer
            self._count("stream", answer.model_version, answer.embedding, reply.error.message)
            if reply.request_id != f"{number}":
                self.failures.append(f"stream: {reply.request_id} came in place {number}")
            number += 1

    def _seen(self, request_id: str) -> pb.PredictRequest:
        return pb.PredictRequest(request_id=request_id, image=self.picture, model=self.model)
