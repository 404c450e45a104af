"""Warm-up on request: real inferences by the version that serves, so that no caller meets a cold one."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

from hotswap.dataplane import DataPlane
from hotswap.errors import DeadlineExceeded, VersionNotLoaded
from hotswap.predictions import BaseAnswer, BaseRequest, PredictRequest, TensorRequest, Trial
from manifest.tags import ModelTag


@dataclass(frozen=True, slots=True)
class WarmUpReport:
    """What was run, by which version, and how long each inference took, in milliseconds."""

    tag: ModelTag
    total_ms: float
    latencies_ms: tuple[float, ...]


class WarmUps:
    """Runs the pictures or tensors that a version is checked on, one after the other.

    Each is a request like any other: it takes a place and a thread and borrows the version, so that others
    are answered in between and a swap waits for one inference at most. No observer is told of them.
    """

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    async def run(self, name: str, samples: int, request_id: str, deadline: float) -> WarmUpReport:
        """Run `samples` inferences of one model. `deadline` is a moment of `time.monotonic()`.

        Raises what `DataPlane.predict` raises; `VersionNotLoaded` also when another version has come to serve
        meanwhile, `DeadlineExceeded` with the number of those that were done.
        """
        begun = time.perf_counter()
        tag, trials = await self._trials(BaseRequest(request_id=request_id, deadline=deadline, model=name))
        latencies: list[float] = []
        try:
            for trial in itertools.islice(itertools.cycle(trials), samples):
                answer = await self._ask(tag, trial, request_id, deadline)
                latencies.append(answer.total_ms)
        except DeadlineExceeded:
            raise DeadlineExceeded(
                f"{len(latencies)} of {samples} samples of {tag} were run within the request's time; ask for "
                "fewer at once"
            ) from None
        except VersionNotLoaded:
            raise VersionNotLoaded(
                f"{tag} stopped serving after {len(latencies)} of {samples} samples; GET /models/{name} "
                "shows what serves"
            ) from None
        return WarmUpReport(tag, (time.perf_counter() - begun) * 1e3, tuple(latencies))

    async def _trials(self, request: BaseRequest) -> tuple[ModelTag, list[Trial]]:
        with await self._data_plane.borrow(request) as generation:
            trials = await asyncio.to_thread(generation.runner.trials)
            return generation.tag, list(trials)

    async def _ask(self, tag: ModelTag, trial: Trial, request_id: str, deadline: float) -> BaseAnswer:
        if trial.picture is None:
            return await self._data_plane.infer(
                TensorRequest(
                    request_id=request_id,
                    deadline=deadline,
                    model=tag.name,
                    version=tag.version,
                    inputs=trial.tensors,
                )
            )
        return await self._data_plane.predict(
            PredictRequest(
                request_id=request_id,
                deadline=deadline,
                model=tag.name,
                version=tag.version,
                pictures=(trial.picture,),
                options=trial.options,
            )
        )
