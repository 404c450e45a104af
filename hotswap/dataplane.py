"""A request, whatever wire it came by: admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from hotswap.admission import Admission, Permit
from hotswap.artifact import Artifact
from hotswap.errors import BadRequest, DeadlineExceeded
from hotswap.generation import Generation, Lease
from hotswap.giving import Giving
from hotswap.hooks import Hooks, NoHooks
from hotswap.in_time import InTime, late
from hotswap.lending import Lending
from hotswap.pool import Pool
from hotswap.reconciler import Reconciler
from hotswap.requests import Answer, Asked, PredictRequest, TensorAnswer, TensorRequest
from hotswap.runner import Predictions, Tensors, Timings
from hotswap.telling import tell

T = TypeVar("T")


class DataPlane:
    """Serves requests from the slots of one process."""

    def __init__(
        self, reconciler: Reconciler, admission: Admission, pool: Pool, hooks: Hooks | None = None
    ) -> None:
        self.lending = Lending(reconciler)
        self.admission = admission
        self.pool = pool
        self._hooks = hooks or NoHooks()

    async def predict(self, request: PredictRequest) -> Answer:
        """Answer with the version that serves now.

        Raises `Overloaded`, `ModelRequired`, `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`,
        `ModelNotReady`, `DeadlineExceeded`, `BadRequest` for a model of another task, and what the runner
        raises.
        """
        with await self.predicting(request) as answer:
            return answer

    async def predicting(self, request: PredictRequest) -> Giving[Answer]:
        """The same for a wire that may find that it cannot tell the answer: it counts when it is given."""

        def work(generation: Generation) -> Predictions:
            _check_task(request.task, generation.artifact)
            if request.begun is not None:
                request.begun()
            pictures = InTime(request.pictures, request.deadline)
            found = generation.runner.predict(pictures, request.options)
            if request.then is not None:
                if time.monotonic() >= request.deadline:
                    raise late()
                request.then(found)
            return found

        result, served = await self._serve(request, work)
        answer = Answer(predictions=result.items, **served(result.timings))
        return Giving(answer, lambda: tell(self._hooks.after_predict, request, answer))

    async def infer(self, request: TensorRequest) -> TensorAnswer:
        """Run the graph that serves now on tensors; raises what `predict` raises."""
        with await self.inferring(request) as answer:
            return answer

    async def inferring(self, request: TensorRequest) -> Giving[TensorAnswer]:
        """The same, as `predicting` is to `predict`."""

        def work(generation: Generation) -> Tensors:
            return generation.runner.infer(request.inputs, request.outputs)

        result, served = await self._serve(request, work)
        answer = TensorAnswer(tensors=result.arrays, **served(result.timings))
        return Giving(answer, lambda: tell(self._hooks.after_infer, request, answer))

    async def borrow(self, request: Asked) -> Lease:
        """Lease what would answer, to look at it: that takes no place, and a full service tells, too.

        Raises what `predict` raises before it runs, except `Overloaded`.
        """
        name = self.lending.model_name(request.model)
        return await self.lending.switched(
            name, request.deadline, lambda: self.lending.lease(name, request.version)
        )

    async def aside(self, work: Callable[[], T], deadline: float) -> T:
        """Do something long in a thread that runs models, under admission like any request.

        Raises `Overloaded`, `DeadlineExceeded`, and what `work` raises.
        """
        permit = self.admission.enter()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                done, _ = await self.pool.run(work, permit.release)
                return done
        except TimeoutError:
            raise DeadlineExceeded("the request was not read within its time") from None

    async def _serve(
        self, request: Asked, work: Callable[[Generation], T]
    ) -> tuple[T, Callable[[Timings], dict[str, Any]]]:
        """Admission, lease, thread. The second result tells who served, given the stages' timings."""
        permit, lease = await self._enter(self.lending.model_name(request.model), request)

        def give_back() -> None:
            lease.release()
            permit.release()

        generation = lease.generation
        result, waited = await self._run(request, lambda: work(generation), give_back)

        def served(stages: Timings) -> dict[str, Any]:
            artifact = generation.artifact
            return {
                "request_id": request.request_id,
                "model": artifact.tag.name,
                "version": artifact.tag.version,
                "digest": artifact.digest,
                "generation": generation.number,
                "task": artifact.config.task,
                "queue_ms": waited * 1e3,
                "stages": stages,
                "total_ms": (time.perf_counter() - request.received) * 1e3,
            }

        return result, served

    async def _enter(self, name: str, request: Asked) -> tuple[Permit, Lease]:
        """A place and a lease. Who waits holds no place: other models are answered meanwhile."""

        def enter() -> tuple[Permit, Lease]:
            permit = self.admission.enter()
            try:
                return permit, self.lending.lease(name, request.version)
            except BaseException:
                permit.release()
                raise

        return await self.lending.switched(name, request.deadline, enter)

    async def _run(
        self, request: Asked, work: Callable[[], T], give_back: Callable[[], None]
    ) -> tuple[T, float]:
        limit = asyncio.timeout(request.deadline - time.monotonic())
        try:
            async with limit:
                return await self.pool.run(work, give_back)
        except TimeoutError:
            if not limit.expired():
                raise  # the runner's own
            raise late() from None


def _check_task(wanted: str | None, artifact: Artifact) -> None:
    if wanted not in (None, artifact.config.task):
        raise BadRequest(f"{artifact.tag} is a model for {artifact.config.task}, not for {wanted}")
