"""The path of a request, whatever wire it came by: model and version, admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from hotswap.admission import Admission, Permit
from hotswap.batcher import BatchMember, batch_key
from hotswap.crop_detector import lease_detector
from hotswap.errors import (
    BadRequest,
    DeadlineExceeded,
    InsufficientMemory,
    ModelFailed,
    ModelNotReady,
    VersionFailed,
    VersionNotLoaded,
    deadline_exceeded,
)
from hotswap.events import Observer
from hotswap.generation import Generation, Lease
from hotswap.predictions import (
    Answer,
    BaseRequest,
    DeadlineBoundImages,
    Options,
    Picture,
    Predictions,
    PredictRequest,
    ServedVersion,
    TensorAnswer,
    TensorRequest,
    Tensors,
    Timings,
)
from hotswap.repository import Artifact
from hotswap.router import ModelRouter
from hotswap.runner import BatchRunner, CropStep, Stop
from hotswap.schedule import HasLooked, Schedule
from hotswap.slot import NotResident, NotSwitched
from hotswap.status import StateView
from hotswap.threads import InferencePool
from manifest.tags import as_version

T = TypeVar("T")


class DataPlane:
    """Serves requests from the slots of one process."""

    def __init__(
        self,
        view: StateView,
        schedule: Schedule,
        admission: Admission,
        pool: InferencePool,
        crop_step: CropStep | None = None,
        *,
        batch_size: int | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`crop_step` serves models whose config has `crop_with`; without it they are refused.

        `batch_size` bounds the batches that configs ask for (`batching`); 1: no requests share a run.
        """
        self.router = ModelRouter(view, schedule, observer)
        self.admission = admission
        self.pool = pool
        self._crop_step = crop_step
        self._batch_size = batch_size

    async def predict(self, request: PredictRequest) -> Answer:
        """Answer with the version that serves now.

        Raises `Overloaded`, `ModelRequired`, `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`,
        `ModelNotReady`, `DeadlineExceeded`, `BadRequest` for a model of another task, and what the runner
        raises.
        """

        def work(generation: Generation, detector: Generation | None) -> Predictions:
            _begin(request, generation)
            return _end(request, self._found(generation, detector, request))

        result, served = await self._serve(
            request, work, crops=True, member=lambda generation: self._member(generation, request)
        )
        if (watch := served.generation.watch) is not None and served.detector is None:
            watch.answered(request.pictures, _options(request, served.generation), result)
        size = sum(len(picture.encoded or b"") for picture in request.pictures)
        return Answer(
            predictions=result.items,
            image_bytes=size,
            detector=None if served.detector is None else _named(served.detector),
            task=served.generation.artifact.config.answers_as,
            **served.fields(request, result.timings),
        )

    def _found(
        self, generation: Generation, detector: Generation | None, request: PredictRequest
    ) -> Predictions:
        pictures = DeadlineBoundImages(request.pictures, request.deadline)
        crop, options = generation.artifact.config.crop_with, _options(request, generation)
        if crop is None:
            return generation.runner.predict(pictures, options)
        if detector is None or self._crop_step is None:
            raise VersionFailed(f"{generation.tag}: crop_with is not served here")
        return self._crop_step(
            detector.runner, generation.runner, generation.artifact, crop, pictures=pictures, options=options
        )

    def _member(self, generation: Generation, request: PredictRequest) -> BatchMember | None:
        """How the request takes part in a batch; None where it runs alone."""
        options = _options(request, generation)
        key = batch_key(generation, options, len(request.pictures), self._batch_size)
        if key is None:
            return None
        runner = cast(BatchRunner, generation.runner)

        def begin() -> Sequence[Picture]:
            _begin(request, generation)
            return DeadlineBoundImages(request.pictures, request.deadline)

        return BatchMember(
            key,
            begin,
            end=lambda found: _end(request, found),
            together=lambda pictures: runner.predict_each(pictures, options),
        )

    async def infer(self, request: TensorRequest) -> TensorAnswer:
        """Run the graph that serves now on tensors; raises what `predict` raises."""
        stop = Stop()

        def work(generation: Generation, _: Generation | None) -> Tensors:
            return generation.runner.infer(request.inputs, request.outputs, stop)

        try:
            result, served = await self._serve(request, work, crops=False)
        finally:
            # Without its caller a graph that loops would keep its thread and its lease.
            stop.give()
        if (watch := served.generation.watch) is not None:
            watch.answered((), Options(), Predictions((), result.timings))
        return TensorAnswer(
            tensors=result.arrays,
            task=served.generation.artifact.config.task,
            **served.fields(request, result.timings),
        )

    async def borrow(self, request: BaseRequest) -> Lease:
        """Lease the version that would answer, to describe it. No place is taken: a full service can do it.

        Raises what `predict` raises before it runs, except `Overloaded`.
        """
        name = self.router.model_name(request.model)
        return await self.router.when_current(
            request.deadline, lambda: self.router.lease(name, request.version)
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
        self,
        request: BaseRequest,
        work: Callable[[Generation, Generation | None], T],
        *,
        crops: bool,
        member: Callable[[Generation], BatchMember | None] = lambda _: None,
    ) -> tuple[T, _Served]:
        """Admission, leases, thread."""
        name = self.router.model_name(request.model)
        borrowed = await self.router.when_current(
            request.deadline, lambda: self._enter(name, request, crops, member)
        )
        generation = borrowed.leases[0].generation
        detector = borrowed.leases[1].generation if len(borrowed.leases) > 1 else None
        try:
            result, waited = await self._run(request, lambda: work(generation, detector), borrowed)
        except (ModelFailed, VersionFailed) as error:
            instead = self._instead(name, request, generation)
            if instead is None:
                raise
            watch, generation, detector = generation.watch, instead.leases[0].generation, None
            result, waited = await self._run(request, lambda: work(generation, None), instead)
            if watch is not None:
                watch.failed(error)  # and not the request: another version has answered it
        return result, _Served(generation, detector, waited)

    def _instead(self, name: str, request: BaseRequest, failed: Generation) -> _Borrowed | None:
        """What answers in the place of a version that is watched or gone, so that its fault is nobody's."""
        lease = self.router.lease_instead(name, failed) if request.version is None else None
        if lease is None:
            return None
        borrowed = _Borrowed(self.admission.enter_again())
        borrowed.add(lease)
        return borrowed

    def _enter(
        self,
        name: str,
        request: BaseRequest,
        crops: bool,
        member: Callable[[Generation], BatchMember | None],
    ) -> _Borrowed:
        """A place, a lease, and another on the detector of a model that crops; all of them, or none.

        Who waits for one of the models holds nothing: others are answered meanwhile.
        """
        borrowed = _Borrowed(self.admission.enter())
        try:
            key = request.key or request.request_id
            lease = borrowed.add(self.router.lease(name, request.version, key))
            crop = lease.generation.artifact.config.crop_with if crops else None
            if crop is not None:
                tag = lease.generation.tag
                borrowed.add(lease_detector(crop, tag, lambda model: self.router.lease(model, None)))
            else:
                borrowed.member = member(lease.generation)
        except BaseException:
            borrowed.give_back()
            raise
        return borrowed

    async def _run(self, request: BaseRequest, work: Callable[[], T], borrowed: _Borrowed) -> tuple[T, float]:
        limit = asyncio.timeout(request.deadline - time.monotonic())
        try:
            async with limit:
                return await self.pool.run(work, borrowed.give_back, borrowed.member)
        except TimeoutError:
            if not limit.expired():
                raise  # the runner's own
            raise deadline_exceeded() from None


@dataclass(frozen=True, slots=True)
class _Served:
    """Who answered, and how many seconds the request waited for a thread."""

    generation: Generation
    detector: Generation | None
    waited: float

    def fields(self, request: BaseRequest, stages: Timings) -> dict[str, Any]:
        """What every answer says of itself."""
        artifact = self.generation.artifact
        return {
            "request_id": request.request_id,
            "model": artifact.tag.name,
            "version": artifact.tag.version,
            "digest": artifact.digest,
            "generation": self.generation.number,
            "queue_ms": self.waited * 1e3,
            "stages": stages,
            "total_ms": (time.perf_counter() - request.received) * 1e3,
        }


class _Borrowed:
    """What a request holds: its place, and the leases of the versions that answer it."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        #: How it may run with others.
        self.member: BatchMember | None = None
        self.leases: list[Lease] = []

    def add(self, lease: Lease) -> Lease:
        self.leases.append(lease)
        return lease

    def give_back(self) -> None:
        for lease in self.leases:
            lease.release()
        self._permit.release()


def _named(generation: Generation) -> ServedVersion:
    artifact = generation.artifact
    return ServedVersion(artifact.tag.name, artifact.tag.version, artifact.digest, generation.number)


def _options(request: PredictRequest, generation: Generation) -> Options:
    if request.usual is None:
        return request.options
    return request.options.completed(request.usual, generation.runner.takes)


def _begin(request: PredictRequest, generation: Generation) -> None:
    _check_task(request.task, generation.artifact)
    if request.begun is not None:
        request.begun()


def _end(request: PredictRequest, found: Predictions) -> Predictions:
    if request.then is not None:
        if time.monotonic() >= request.deadline:
            raise deadline_exceeded()
        request.then(found)
    return found


def _check_task(wanted: str | None, artifact: Artifact) -> None:
    if wanted not in (None, artifact.config.answers_as):
        raise BadRequest(f"{artifact.tag} is a model for {artifact.config.answers_as}, not for {wanted}")


class ModelWait:
    """Lets callers wait for a model that is on its way. No more wait than the service admits requests."""

    def __init__(self, data_plane: DataPlane, view: StateView, schedule: Schedule) -> None:
        self._router = data_plane.router
        self._view = view
        self._schedule = schedule
        self._room = Admission(data_plane.admission.capacity)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._room.inside

    def serves(self, model: str | None, version: str | None) -> bool:
        """Whether a model can be asked now; False: not yet, it is on its way.

        Raises what `DataPlane.predict` raises for models and versions, where waiting does not help.
        """
        name = self._router.model_name(model)
        try:
            self._router.lease(name, version).release()
        except NotSwitched:
            self._schedule.wake()
        except NotResident:
            return False
        except ModelNotReady:
            if not self._view.may_come(name):
                raise
        except VersionNotLoaded:
            coming = self._view.coming(name)
            if version is None or as_version(version, coming) not in coming:
                raise
        else:
            return True
        return False

    async def wait_until_servable(self, model: str | None, version: str | None, deadline: float) -> None:
        """Return when a model can be asked. `deadline` is a moment of `time.monotonic()`.

        Raises what `serves` raises, `InsufficientMemory`, `DeadlineExceeded`, and `Overloaded` when too many
        wait already.
        """
        permit = self._room.enter()
        try:
            name = self._router.model_name(model)
            with self._schedule.demand(name):
                looked, seconds = self._schedule.look(), deadline - time.monotonic()
                if not await self._view.wait_until(lambda: self._holds(name, version, looked), seconds):
                    raise DeadlineExceeded("the model does not serve within the request's time; retry later")
        finally:
            permit.release()

    def _holds(self, name: str, version: str | None, has_looked: HasLooked) -> bool:
        refusal = self._view.memory_refusal(name)
        if self.serves(name, version):
            return True
        if refusal is not None and refusal.hopeless and has_looked():
            raise InsufficientMemory(refusal.reason)
        return False
