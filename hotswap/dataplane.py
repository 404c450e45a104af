"""A request, whatever wire it came by: admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from numpy.typing import NDArray

from hotswap.admission import Admission, Permit
from hotswap.artifact import Artifact
from hotswap.changes import Changes
from hotswap.errors import (
    BadRequest,
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelRequired,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.generation import Generation, Lease
from hotswap.hooks import Hooks, NoHooks
from hotswap.in_time import InTime, late
from hotswap.pool import Pool
from hotswap.reconciler import Reconciler
from hotswap.runner import Options, Picture, Prediction, Predictions, Tensors, Timings
from hotswap.slot import NotSwitched
from hotswap.tags import as_version

logger = logging.getLogger("bentoml.okawari.hotswap")

T = TypeVar("T")
R = TypeVar("R", bound="Asked")
A = TypeVar("A", bound="Answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every request says. `deadline` is a moment of `time.monotonic()`."""

    request_id: str
    deadline: float
    model: str | None = None
    version: str | None = None
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(Asked):
    """Pictures, for whatever family the model is of.

    `task`, where given, is what the model must be for. `begun` is called by the thread that begins with the
    request; it must be quick and must not raise. `then` takes further what the model found, such as drawing
    it: after the model, in the same thread, under the same permit and lease; not when the deadline has
    passed meanwhile.
    """

    pictures: tuple[Picture, ...]
    options: Options = field(default_factory=Options)
    task: str | None = None
    begun: Callable[[], None] | None = None
    then: Callable[[Predictions], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRequest(Asked):
    """Tensors for the graph itself, by input name. `outputs`: the names to give, none for all."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who answered and how long it took, in milliseconds."""

    request_id: str
    model: str
    version: str
    digest: str
    generation: int
    task: str
    queue_ms: float
    stages: Timings
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Answered):
    """What is answered for pictures, with all that a record of it needs."""

    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAnswer(Answered):
    """What is answered for tensors: outputs of the graph by name."""

    tensors: Mapping[str, NDArray[Any]]


class DataPlane:
    """Serves requests from the slots of one process."""

    def __init__(
        self, reconciler: Reconciler, admission: Admission, pool: Pool, hooks: Hooks | None = None
    ) -> None:
        self._reconciler = reconciler
        self.admission = admission
        self.pool = pool
        self._hooks = hooks or NoHooks()
        self._changes = Changes(reconciler)

    async def predict(self, request: PredictRequest) -> Answer:
        """Answer with the version that serves now.

        Raises `Overloaded`, `ModelRequired`, `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`,
        `ModelNotReady`, `DeadlineExceeded`, `BadRequest` for a model of another task, and what the runner
        raises.
        """

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
        self._tell(self._hooks.after_predict, request, answer)
        return answer

    async def infer(self, request: TensorRequest) -> TensorAnswer:
        """Run the graph that serves now on tensors; raises what `predict` raises."""

        def work(generation: Generation) -> Tensors:
            return generation.runner.infer(request.inputs, request.outputs)

        result, served = await self._serve(request, work)
        answer = TensorAnswer(tensors=result.arrays, **served(result.timings))
        self._tell(self._hooks.after_infer, request, answer)
        return answer

    async def borrow(self, request: Asked) -> Lease:
        """Lease what would answer, to look at it: that takes no place, and a full service tells, too.

        Raises what `predict` raises before it runs, except `Overloaded`.
        """
        name = self.model_name(request.model)
        return await self._switched(name, request.deadline, lambda: self.lease(name, request.version))

    async def _serve(
        self, request: Asked, work: Callable[[Generation], T]
    ) -> tuple[T, Callable[[Timings], dict[str, Any]]]:
        """Admission, lease, thread. The second result tells who served, given the stages' timings."""
        permit, lease = await self._enter(self.model_name(request.model), request)

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

    async def _enter(self, name: str, request: Asked) -> tuple[Permit, Lease]:
        """A place and a lease. Who waits holds no place: other models are answered meanwhile."""

        def enter() -> tuple[Permit, Lease]:
            permit = self.admission.enter()
            try:
                return permit, self.lease(name, request.version)
            except BaseException:
                permit.release()
                raise

        return await self._switched(name, request.deadline, enter)

    async def _switched(self, name: str, deadline: float, take: Callable[[], T]) -> T:
        """What `take` gives, at once; wait only where the other workers went on without this one."""
        while True:
            try:
                return take()
            except NotSwitched:
                if not await self._caught_up(name, deadline):
                    raise

    async def _caught_up(self, name: str, deadline: float) -> bool:
        """Wait until this worker answers as the others do; False when it cannot, or not in time."""
        reconciler = self._reconciler

        def switched() -> bool:
            slot = reconciler.slots.get(name)
            return slot is not None and slot.catch_up()

        def in_vain() -> bool:
            # Before a look that began after now it may not even have seen what there is to load.
            return reconciler.steps >= needed and reconciler.cannot_follow(name)

        needed = reconciler.begun + 1
        reconciler.wake()
        await self._changes.until(lambda: switched() or in_vain(), deadline - time.monotonic())
        return switched()

    @staticmethod
    def _tell(hook: Callable[[R, A], None], request: R, answer: A) -> None:
        try:
            hook(request, answer)
        except Exception:
            logger.exception("%s", getattr(hook, "__name__", hook))

    def model_name(self, asked: str | None) -> str:
        """The model that is meant; raise `ModelRequired` when none is named and none is default."""
        name = asked or self._reconciler.document.default
        if name is None:
            raise ModelRequired("several models and no default: name one in the field 'model'")
        return name

    def lease(self, name: str, version: str | None) -> Lease:
        """Borrow the generation that answers for a model, or a certain version of it.

        Raises what `predict` says, and `NotSwitched` where waiting for the reconciler helps.
        """
        slot = self._reconciler.slots.get(name)
        if not self._reconciler.in_step(name):
            raise NotSwitched(f"this worker still loads what {name} has switched to; try again shortly")
        if version is not None:
            version = self._known_version(name, version)
        if slot is not None and slot.current is not None:
            return slot.lease(version)
        if self._wanted(name):
            raise ModelNotReady(f"no version of {name} serves yet; try again shortly")
        kind = ModelNotLoaded if version is None else VersionNotLoaded
        raise kind(f"{name} is not served here; GET /models tells what is")

    def _known_version(self, name: str, asked: str) -> str:
        sight = self._reconciler.sights.get(name)
        slot = self._reconciler.slots.get(name)
        known = {*(sight.versions if sight else ()), *(each.tag.version for each in slot or ())}
        if not known and slot is None:
            self._wanted(name)
        version = as_version(asked, known)
        if version not in known:
            raise VersionNotFound(f"there is no version {version[:64]!r} of {name}")
        return version

    def _wanted(self, name: str) -> bool:
        document = self._reconciler.document
        required = document.required or ()
        if name not in self._reconciler.sights and name not in required:
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        wish = document.wish(name)
        return name in required or (wish is not None and not wish.unloaded)


def _check_task(wanted: str | None, artifact: Artifact) -> None:
    if wanted not in (None, artifact.config.task):
        raise BadRequest(f"{artifact.tag} is a model for {artifact.config.task}, not for {wanted}")
