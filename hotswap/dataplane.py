"""A request, whatever wire it came by: admission, lease, thread, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hotswap.admission import Admission
from hotswap.changes import Changes
from hotswap.errors import (
    DeadlineExceeded,
    ModelNotFound,
    ModelNotReady,
    ModelRequired,
    VersionNotFound,
    VersionNotLoaded,
)
from hotswap.generation import Lease
from hotswap.hooks import Hooks, NoHooks
from hotswap.pool import Pool
from hotswap.reconciler import Reconciler
from hotswap.runner import Options, Picture, Prediction, Predictions, Timings
from hotswap.slot import NotSwitched
from hotswap.tags import as_version

logger = logging.getLogger("bentoml.okawari.hotswap")


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What is asked. `deadline` is a moment of `time.monotonic()`.

    `then` takes further what the model found, such as drawing it: after the model, in the same thread,
    under the same permit and lease; not when the deadline has passed meanwhile.
    """

    request_id: str
    pictures: tuple[Picture, ...]
    deadline: float
    model: str | None = None
    version: str | None = None
    options: Options = field(default_factory=Options)
    received: float = field(default_factory=time.perf_counter)
    then: Callable[[Predictions], None] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, with all that a record of it needs. Times are milliseconds."""

    request_id: str
    model: str
    version: str
    digest: str
    generation: int
    task: str
    predictions: tuple[Prediction, ...]
    queue_ms: float
    stages: Timings
    total_ms: float


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
        `ModelNotReady`, `DeadlineExceeded`, and what the runner raises.
        """
        name = self.model_name(request.model)
        permit = self.admission.enter()
        try:
            lease = await self._lease(name, request)
        except BaseException:
            permit.release()
            raise

        def give_back() -> None:
            lease.release()
            permit.release()

        answer = await self._run(request, lease, give_back)
        self._tell(request, answer)
        return answer

    async def _run(self, request: PredictRequest, lease: Lease, give_back: Callable[[], None]) -> Answer:
        generation = lease.generation
        artifact = generation.artifact

        def work() -> Predictions:
            found = generation.runner.predict(request.pictures, request.options)
            if request.then is not None:
                if time.monotonic() >= request.deadline:
                    raise _late()
                request.then(found)
            return found

        limit = asyncio.timeout(request.deadline - time.monotonic())
        try:
            async with limit:
                result, waited = await self.pool.run(work, give_back)
        except TimeoutError:
            if not limit.expired():
                raise  # the runner's own
            raise _late() from None
        return Answer(
            request_id=request.request_id,
            model=artifact.tag.name,
            version=artifact.tag.version,
            digest=artifact.digest,
            generation=generation.number,
            task=artifact.config.task,
            predictions=result.items,
            queue_ms=waited * 1e3,
            stages=result.timings,
            total_ms=(time.perf_counter() - request.received) * 1e3,
        )

    async def _lease(self, name: str, request: PredictRequest) -> Lease:
        """Borrow at once; wait only where the other workers went on without this one."""
        while True:
            try:
                return self.lease(name, request.version)
            except NotSwitched:
                self._reconciler.wake()
                seconds = request.deadline - time.monotonic()
                if not await self._changes.until(lambda: self._switched(name), seconds):
                    raise

    def _switched(self, name: str) -> bool:
        slot = self._reconciler.slots.get(name)
        return slot is not None and slot.catch_up()

    def _tell(self, request: PredictRequest, answer: Answer) -> None:
        try:
            self._hooks.after_predict(request, answer)
        except Exception:
            logger.exception("after_predict")

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
        raise VersionNotLoaded(f"{name} is not served here; GET /models tells what is")

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
            raise ModelNotFound(f"there is no model {name!r}; GET /models lists them")
        wish = document.wish(name)
        return name in required or (wish is not None and not wish.unloaded)


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("no answer within the request's time; send fewer at once")
