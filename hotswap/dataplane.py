"""An answer while it is given: it counts as one when its wire could tell it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from hotswap.admission import Admission, Permit
from hotswap.errors import (
    BadRequest,
    DeadlineExceeded,
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelRequired,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.events import Hooks, NoHooks, notify
from hotswap.generation import Generation, Lease
from hotswap.predictions import (
    Answer,
    BaseRequest,
    Picture,
    Predictions,
    PredictRequest,
    TensorAnswer,
    TensorRequest,
    Tensors,
    Timings,
)
from hotswap.reconciler import Reconciler
from hotswap.repository import Artifact
from hotswap.slot import NotSwitched
from hotswap.status import StateChanges
from hotswap.tags import as_version
from hotswap.threads import InferencePool

A = TypeVar("A")
B = TypeVar("B")


class PendingAnswer(Generic[A]):
    """`with` it: the answer is told of when the block ends, unless that raises an `Exception`.

    Such a request was refused after all, and whoever raises or catches a `ServingError` counts it as that. A
    caller who leaves meanwhile (`CancelledError`) was answered.
    """

    __slots__ = ("_answer", "_tell")

    def __init__(self, answer: A, tell: Callable[[], None]) -> None:
        self._answer = answer
        self._tell = tell

    def made(self, make: Callable[[A], B]) -> PendingAnswer[B]:
        """What `make` makes of the answer, given in its stead; nothing is told when `make` raises."""
        return PendingAnswer(make(self._answer), self._tell)

    def __enter__(self) -> A:
        return self._answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            self._tell()


def deadline_exceeded() -> DeadlineExceeded:
    """What a caller is told whose time is over."""
    return DeadlineExceeded("no answer within the request's time; send fewer at once")


class DeadlineBoundImages(Sequence[Picture]):
    """Pictures that are handed out until `deadline`, a moment of `time.monotonic()`.

    A runner that asks for one later gets `DeadlineExceeded`: a thread that decoded the rest, which may
    take many times as long as the caller waited, would only keep others from being answered.
    """

    def __init__(self, pictures: Sequence[Picture], deadline: float) -> None:
        self._pictures = pictures
        self._deadline = deadline

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> DeadlineBoundImages: ...

    def __getitem__(self, index: int | slice) -> Picture | DeadlineBoundImages:
        if isinstance(index, slice):
            return DeadlineBoundImages(self._pictures[index], self._deadline)
        picture = self._pictures[index]
        if time.monotonic() >= self._deadline:
            raise deadline_exceeded()
        return picture


class ModelRouter:
    """Lends what the reconciler has published."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._changes = StateChanges(reconciler)

    def model_name(self, asked: str | None) -> str:
        """The model that is meant; raise `ModelRequired` when none is named and none is default."""
        name = asked or self._reconciler.document.default
        if name is None:
            raise ModelRequired("several models and no default: name one in the field 'model'")
        return name

    def lease(self, name: str, version: str | None) -> Lease:
        """Borrow the generation that answers for a model, or a certain version of it.

        Raises `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`, `ModelNotReady`, and `NotSwitched`
        where waiting for the reconciler helps.
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

    async def switched(self, name: str, deadline: float, take: Callable[[], T]) -> T:
        """What `take` gives, at once; wait only where the other workers went on without this one.

        `deadline` is a moment of `time.monotonic()`. Raises what `take` raises.
        """
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


T = TypeVar("T")


class DataPlane:
    """Serves requests from the slots of one process."""

    def __init__(
        self, reconciler: Reconciler, admission: Admission, pool: InferencePool, hooks: Hooks | None = None
    ) -> None:
        self.lending = ModelRouter(reconciler)
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

    async def predicting(self, request: PredictRequest) -> PendingAnswer[Answer]:
        """The same for a wire that may find that it cannot tell the answer: it counts when it is given."""

        def work(generation: Generation) -> Predictions:
            _check_task(request.task, generation.artifact)
            if request.begun is not None:
                request.begun()
            pictures = DeadlineBoundImages(request.pictures, request.deadline)
            found = generation.runner.predict(pictures, request.options)
            if request.then is not None:
                if time.monotonic() >= request.deadline:
                    raise deadline_exceeded()
                request.then(found)
            return found

        result, served = await self._serve(request, work)
        answer = Answer(predictions=result.items, **served(result.timings))
        return PendingAnswer(answer, lambda: notify(self._hooks.after_predict, request, answer))

    async def infer(self, request: TensorRequest) -> TensorAnswer:
        """Run the graph that serves now on tensors; raises what `predict` raises."""
        with await self.inferring(request) as answer:
            return answer

    async def inferring(self, request: TensorRequest) -> PendingAnswer[TensorAnswer]:
        """The same, as `predicting` is to `predict`."""

        def work(generation: Generation) -> Tensors:
            return generation.runner.infer(request.inputs, request.outputs)

        result, served = await self._serve(request, work)
        answer = TensorAnswer(tensors=result.arrays, **served(result.timings))
        return PendingAnswer(answer, lambda: notify(self._hooks.after_infer, request, answer))

    async def borrow(self, request: BaseRequest) -> Lease:
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
        self, request: BaseRequest, work: Callable[[Generation], T]
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

    async def _enter(self, name: str, request: BaseRequest) -> tuple[Permit, Lease]:
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
        self, request: BaseRequest, work: Callable[[], T], give_back: Callable[[], None]
    ) -> tuple[T, float]:
        limit = asyncio.timeout(request.deadline - time.monotonic())
        try:
            async with limit:
                return await self.pool.run(work, give_back)
        except TimeoutError:
            if not limit.expired():
                raise  # the runner's own
            raise deadline_exceeded() from None


def _check_task(wanted: str | None, artifact: Artifact) -> None:
    if wanted not in (None, artifact.config.task):
        raise BadRequest(f"{artifact.tag} is a model for {artifact.config.task}, not for {wanted}")


class ModelWait:
    """Lets callers wait for a model. No more of them wait than the service admits requests."""

    def __init__(self, data_plane: DataPlane, reconciler: Reconciler) -> None:
        self._data_plane = data_plane
        self._reconciler = reconciler
        self._changes = StateChanges(reconciler)
        self._room = Admission(data_plane.admission.capacity)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._room.inside

    def serves(self, model: str | None, version: str | None) -> bool:
        """Whether it can be asked now; False: not yet, it is on its way.

        Raises what `DataPlane.predict` says of models and versions, where waiting does not help.
        """
        name = self._data_plane.lending.model_name(model)
        try:
            self._data_plane.lending.lease(name, version).release()
        except NotSwitched:
            self._reconciler.wake()
        except ModelNotReady:
            if not self._coming(name):
                raise
        except VersionNotLoaded:
            if version is None or not self._loads(name, version):
                raise
        else:
            return True
        return False

    async def wait(self, model: str | None, version: str | None, deadline: float) -> None:
        """Return when it can be asked.

        Raises what `serves` raises, `DeadlineExceeded`, and `Overloaded` when too many wait already.
        """
        permit = self._room.enter()
        try:
            seconds = deadline - time.monotonic()
            if not await self._changes.until(lambda: self.serves(model, version), seconds):
                raise DeadlineExceeded("the model does not serve within the request's time; try again later")
        finally:
            permit.release()

    def _coming(self, name: str) -> bool:
        """Whether a version is being brought, is copied in, or may be planned by the look under way."""
        reconciler, slot = self._reconciler, self._reconciler.slots.get(name)
        settling = (tag for tag, why in list(reconciler.backoff.failures.items()) if why.settling)
        tags = (*list(reconciler.loading), *settling)
        prepared = slot is not None and slot.prepared is not None
        looks = reconciler.begun != reconciler.steps
        return prepared or looks or any(tag.name == name for tag in tags)

    def _loads(self, name: str, asked: str) -> bool:
        """Whether that very version is being brought."""
        slot = self._reconciler.slots.get(name)
        tags = list(self._reconciler.loading)
        if slot is not None and (prepared := slot.prepared) is not None:
            tags.append(prepared.tag)
        versions = {tag.version for tag in tags if tag.name == name}
        return as_version(asked, versions) in versions
