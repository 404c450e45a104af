"""The path of a request, whatever wire it came by: model and version, admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from hotswap.admission import Admission, Permit
from hotswap.crop_detector import lease_detector
from hotswap.errors import (
    BadRequest,
    DeadlineExceeded,
    InsufficientMemory,
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelRequired,
    VersionFailed,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.generation import Generation, Lease
from hotswap.predictions import (
    Answer,
    BaseRequest,
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
from hotswap.runner import CropStep, Stop
from hotswap.schedule import HasLooked, Schedule
from hotswap.slot import NotSwitched
from hotswap.status import StateView
from hotswap.tags import ModelTag, as_version
from hotswap.threads import InferencePool

T = TypeVar("T")


def deadline_exceeded() -> DeadlineExceeded:
    """The message to a caller whose time is over."""
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


class NotResident(ModelNotReady):
    """`model` is not in memory; it comes when it is asked for, so waiting helps."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is not in memory; it is loaded when it is asked for")
        self.model = model


class ModelRouter:
    """Which generation answers a request: found by model and version, and leased."""

    def __init__(self, view: StateView, schedule: Schedule) -> None:
        self._view = view
        self._schedule = schedule

    def model_name(self, asked: str | None) -> str:
        """The model that is meant; raise `ModelRequired` when none is named and none is default."""
        name = asked or self._view.default
        if name is None:
            raise ModelRequired("several models and no default: name one in the field 'model'")
        return name

    def lease(self, name: str, version: str | None) -> Lease:
        """Borrow the generation that answers for a model, or a certain version of it.

        Raises `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`, `ModelNotReady`, and `NotSwitched` or
        `NotResident` where waiting for the reconciler helps.
        """
        slot = self._view.slot(name)
        if not self._view.is_current(name):
            raise NotSwitched(name)
        if version is not None:
            version = self._known_version(name, version)
        if slot is not None and (slot.current is not None or slot.behind):
            try:
                return slot.lease(version)
            except (ModelNotReady, VersionNotLoaded) as missing:
                # It may have left memory since it was looked at.
                if isinstance(missing, NotSwitched) or not self._is_brought(name, version):
                    raise
                raise NotResident(name) from None
        if self._is_brought(name, version):
            raise NotResident(name)
        if self._wanted(name):
            raise ModelNotReady(self._why_none_serves(name))
        kind = ModelNotLoaded if version is None else VersionNotLoaded
        raise kind(f"{name} is not loaded; GET /models lists what is")

    def _is_brought(self, name: str, version: str | None) -> bool:
        """Whether a request brings a version, or that version, into memory."""
        brought = self._view.version_to_bring(name)
        return brought is not None and version in (None, brought)

    def _why_none_serves(self, name: str) -> str:
        desired = self._view.desired.model(name)
        version = self._view.resolved(name, desired.target) if desired is not None else None
        failure = self._view.failure(ModelTag(name, version)) if version is not None else None
        if failure is None or failure.settling or self._view.coming(name):
            return f"no version of {name} is serving yet; retry shortly"
        return f"no version of {name} is serving: {name}:{version} failed; GET /models and the log say why"

    def _known_version(self, name: str, asked: str) -> str:
        info, slot = self._view.info(name), self._view.slot(name)
        known = {*(info.versions if info else ()), *(one.tag.version for one in slot or ())}
        if not known and slot is None:
            self._wanted(name)
        version = as_version(asked, known)
        if version not in known:
            raise VersionNotFound(f"there is no version {version[:64]!r} of {name}")
        return version

    def _wanted(self, name: str) -> bool:
        required = self._view.required or ()
        if self._view.info(name) is None and name not in required:
            raise ModelNotFound(f"there is no model {name[:64]!r}; GET /models lists them")
        desired = self._view.desired.model(name)
        if desired is not None and desired.unloaded:
            return False  # also where it is required: waiting does not help
        return name in required or desired is not None

    async def when_current(self, deadline: float, take: Callable[[], T]) -> T:
        """What `take` gives, at once.

        Wait only for a model that is not in memory, and where the other workers went on without this one.

        `deadline` is a moment of `time.monotonic()`. Raises what `take` raises, and `InsufficientMemory` and
        `DeadlineExceeded` for a model that could not be brought into memory in time.
        """
        while True:
            try:
                return take()
            except NotSwitched as behind:
                if not await self._caught_up(behind.model, deadline):
                    raise
            except NotResident as away:
                await self.bring(away.model, deadline)

    async def bring(self, name: str, deadline: float) -> None:
        """Ask for a model that is not in memory, and wait until that has an outcome.

        Raises `InsufficientMemory`, `DeadlineExceeded`; the load goes on for others.
        """
        view = self._view
        with self._schedule.demand(name):
            has_looked = self._schedule.look()

            def decided() -> bool:
                if view.version_to_bring(name) is None:
                    return True
                refusal = view.memory_refusal(name)
                return has_looked() and refusal is not None and refusal.hopeless

            await view.wait_until(decided, deadline - time.monotonic())
        if view.version_to_bring(name) is None:
            return
        refusal = view.memory_refusal(name)
        if refusal is not None and not refusal.coming:
            raise InsufficientMemory(refusal.reason)
        raise DeadlineExceeded(f"{name} was not loaded within the request's time; it is still loading")

    async def _caught_up(self, name: str, deadline: float) -> bool:
        """Wait until this worker can answer as the others do; False when it cannot, or not in time."""
        view = self._view
        has_looked = self._schedule.look()

        def answers() -> bool:
            return view.slot(name) is not None and view.is_current(name)

        def in_vain() -> bool:
            # Before a look that began after now it may not even have seen what there is to load.
            return has_looked() and view.cannot_follow(name)

        await view.wait_until(lambda: answers() or in_vain(), deadline - time.monotonic())
        return answers()


class DataPlane:
    """Serves requests from the slots of one process."""

    def __init__(
        self,
        view: StateView,
        schedule: Schedule,
        admission: Admission,
        pool: InferencePool,
        crop_step: CropStep | None = None,
    ) -> None:
        """`crop_step` serves models whose config has `crop_with`; without it they are refused."""
        self.router = ModelRouter(view, schedule)
        self.admission = admission
        self.pool = pool
        self._crop_step = crop_step

    async def predict(self, request: PredictRequest) -> Answer:
        """Answer with the version that serves now.

        Raises `Overloaded`, `ModelRequired`, `ModelNotFound`, `VersionNotFound`, `VersionNotLoaded`,
        `ModelNotReady`, `DeadlineExceeded`, `BadRequest` for a model of another task, and what the runner
        raises.
        """

        def work(generation: Generation, detector: Generation | None) -> Predictions:
            _check_task(request.task, generation.artifact)
            if request.begun is not None:
                request.begun()
            found = self._found(generation, detector, request)
            if request.then is not None:
                if time.monotonic() >= request.deadline:
                    raise deadline_exceeded()
                request.then(found)
            return found

        result, detector, served = await self._serve(request, work, crops=True)
        size = sum(len(picture.encoded or b"") for picture in request.pictures)
        return Answer(
            predictions=result.items,
            image_bytes=size,
            detector=None if detector is None else _named(detector),
            **served(result.timings),
        )

    def _found(
        self, generation: Generation, detector: Generation | None, request: PredictRequest
    ) -> Predictions:
        pictures = DeadlineBoundImages(request.pictures, request.deadline)
        crop, options = generation.artifact.config.crop_with, request.options
        if request.usual is not None:
            options = options.completed(request.usual, generation.runner.takes)
        if crop is None:
            return generation.runner.predict(pictures, options)
        if detector is None or self._crop_step is None:
            raise VersionFailed(f"{generation.tag}: crop_with is not served here")
        return self._crop_step(
            detector.runner, generation.runner, generation.artifact, crop, pictures=pictures, options=options
        )

    async def infer(self, request: TensorRequest) -> TensorAnswer:
        """Run the graph that serves now on tensors; raises what `predict` raises."""
        stop = Stop()

        def work(generation: Generation, _: Generation | None) -> Tensors:
            return generation.runner.infer(request.inputs, request.outputs, stop)

        try:
            result, _, served = await self._serve(request, work, crops=False)
        finally:
            # Without its caller a graph that loops would keep its thread and its lease.
            stop.give()
        return TensorAnswer(tensors=result.arrays, **served(result.timings))

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
        self, request: BaseRequest, work: Callable[[Generation, Generation | None], T], *, crops: bool
    ) -> tuple[T, Generation | None, Callable[[Timings], dict[str, Any]]]:
        """Admission, leases, thread. The second result is the detector of a model that crops, the third
        makes the answer's fields from the timings."""
        name = self.router.model_name(request.model)
        borrowed = await self.router.when_current(request.deadline, lambda: self._enter(name, request, crops))
        generation = borrowed.leases[0].generation
        detector = borrowed.leases[1].generation if len(borrowed.leases) > 1 else None
        result, waited = await self._run(request, lambda: work(generation, detector), borrowed.give_back)

        def served(stages: Timings) -> dict[str, Any]:
            artifact = generation.artifact
            return {
                "request_id": request.request_id,
                "model": artifact.tag.name,
                "version": artifact.tag.version,
                "digest": artifact.digest,
                "generation": generation.number,
                "task": artifact.config.answers_as if crops else artifact.config.task,
                "queue_ms": waited * 1e3,
                "stages": stages,
                "total_ms": (time.perf_counter() - request.received) * 1e3,
            }

        return result, detector, served

    def _enter(self, name: str, request: BaseRequest, crops: bool) -> _Borrowed:
        """A place, a lease, and another on the detector of a model that crops; all of them, or none.

        Who waits for one of the models holds nothing: others are answered meanwhile.
        """
        borrowed = _Borrowed(self.admission.enter())
        try:
            lease = borrowed.add(self.router.lease(name, request.version))
            crop = lease.generation.artifact.config.crop_with if crops else None
            if crop is not None:
                tag = lease.generation.tag
                borrowed.add(lease_detector(crop, tag, lambda model: self.router.lease(model, None)))
        except BaseException:
            borrowed.give_back()
            raise
        return borrowed

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


class _Borrowed:
    """What a request holds: its place, and the leases of the versions that answer it."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
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
