"""Infer requests of the Open Inference Protocol on the core: the graph's own tensors, or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.open_inference import images
from api.open_inference.types import BF16, BYTES, InferRequest, InferResponse, Tensor
from hotswap.dataplane import DataPlane
from hotswap.errors import BadRequest, ModelFailed
from hotswap.events import Outcome
from hotswap.predictions import Answer, BaseAnswer, PredictRequest, TensorAnswer, TensorRequest


class Inference:
    """Answers infer requests, whatever wire they came by."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    async def infer(self, request: InferRequest, outcome: Outcome) -> InferResponse:
        """Answer with the version that serves now, and name it; `outcome` is given the core's answer.

        One input of datatype BYTES is pictures; anything else goes into the graph. Raises what
        `DataPlane.predict` raises.
        """
        if images.meant(request.inputs):
            return await self._pictures(request, outcome)
        return await self._tensors(request, outcome)

    async def _pictures(self, request: InferRequest, outcome: Outcome) -> InferResponse:
        images.check_names(request.outputs)
        outcome.answer = answer = await self._data_plane.predict(
            PredictRequest(
                request_id=request.request_id,
                deadline=request.deadline,
                model=request.model,
                version=request.version,
                received=request.received,
                pictures=images.read(request.inputs[0]),
                options=images.options(request.parameters),
            )
        )
        return _of_pictures(request, answer)

    async def _tensors(self, request: InferRequest, outcome: Outcome) -> InferResponse:
        wanted = TensorRequest(
            request_id=request.request_id,
            deadline=request.deadline,
            model=request.model,
            version=request.version,
            received=request.received,
            inputs={each.name: _array(each) for each in request.inputs},
            outputs=request.outputs,
        )
        try:
            outcome.answer = answer = await self._data_plane.infer(wanted)
        except ModelFailed as error:
            # The version passed its check: what the graph fails on is what this caller sent or asked for.
            raise BadRequest(f"{error.message}; other tensors, or other outputs, it can answer") from None
        return _of_tensors(request, answer)


def _array(tensor: Tensor) -> NDArray[Any]:
    if tensor.datatype in (BYTES, BF16) or not isinstance(tensor.data, np.ndarray):
        raise BadRequest(
            f"{tensor.name}: no graph here takes {tensor.datatype}; pictures come as the only input, "
            "of datatype BYTES and shape [N] or [N, 1]"
        )
    return tensor.data


def _of_pictures(request: InferRequest, answer: Answer) -> InferResponse:
    return _response(request, answer, images.answer(answer.task, answer.predictions, request.outputs))


def _of_tensors(request: InferRequest, answer: TensorAnswer) -> InferResponse:
    return _response(request, answer, [_output(*each) for each in answer.tensors.items()])


def _output(name: str, found: object) -> Tensor:
    """A graph may also give sequences, maps or nothing at all; the protocol has tensors alone."""
    if not isinstance(found, np.ndarray):
        raise BadRequest(f"output {name}: it is no tensor; name in outputs which others to give")
    return Tensor.of(name, found)


def _response(request: InferRequest, answer: BaseAnswer, tensors: Sequence[Tensor]) -> InferResponse:
    return InferResponse(
        model=answer.model,
        version=answer.version,
        id=request.id,
        parameters={"digest": answer.digest, "generation": answer.generation},
        outputs=tuple(tensors),
    )
