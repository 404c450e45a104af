"""Infer requests of the Open Inference Protocol on the core, with pictures or the graph's own tensors."""

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
    """Answers infer requests of both wires."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane

    async def infer(self, request: InferRequest, outcome: Outcome) -> InferResponse:
        """Answer with the serving version; the core's answer is stored in `outcome`.

        A single input of datatype BYTES has pictures; any other input goes into the graph. Raises as
        `DataPlane.predict` does.
        """
        if images.has_pictures(request.inputs):
            return await self._pictures(request, outcome)
        return await self._tensors(request, outcome)

    async def _pictures(self, request: InferRequest, outcome: Outcome) -> InferResponse:
        outcome.answer = answer = await self._data_plane.predict(
            PredictRequest(
                request_id=request.request_id,
                key=request.key,
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
        tensor_request = TensorRequest(
            request_id=request.request_id,
            key=request.key,
            deadline=request.deadline,
            model=request.model,
            version=request.version,
            received=request.received,
            inputs={tensor.name: _array(tensor) for tensor in request.inputs},
            outputs=request.outputs,
        )
        try:
            outcome.answer = answer = await self._data_plane.infer(tensor_request)
        except ModelFailed as error:
            # The version passed its check, so the caller's tensors or outputs are the cause.
            raise BadRequest(f"{error.message}; send other tensors or request other outputs") from None
        return _of_tensors(request, answer)


def _array(tensor: Tensor) -> NDArray[Any]:
    if tensor.datatype in (BYTES, BF16) or not isinstance(tensor.data, np.ndarray):
        raise BadRequest(
            f"{tensor.name}: no graph accepts {tensor.datatype}; pictures must be the only input, "
            "of datatype BYTES and shape [N] or [N, 1]"
        )
    return tensor.data


def _of_pictures(request: InferRequest, answer: Answer) -> InferResponse:
    return _response(request, answer, images.answer(answer.task, answer.predictions, request.outputs))


def _of_tensors(request: InferRequest, answer: TensorAnswer) -> InferResponse:
    return _response(request, answer, [_output(*item) for item in answer.tensors.items()])


def _output(name: str, value: object) -> Tensor:
    """An output as tensor. A graph may also return sequences, maps or None, which the protocol lacks."""
    if not isinstance(value, np.ndarray):
        raise BadRequest(f"output {name}: not a tensor; list other outputs in the field outputs")
    return Tensor.of(name, value)


def _response(request: InferRequest, answer: BaseAnswer, tensors: Sequence[Tensor]) -> InferResponse:
    return InferResponse(
        model=answer.model,
        version=answer.version,
        id=request.id,
        parameters={"digest": answer.digest, "generation": answer.generation, **_detector(answer)},
        outputs=tuple(tensors),
    )


def _detector(answer: BaseAnswer) -> dict[str, str | int]:
    """Who found the boxes that the model was asked about, if it crops."""
    detector = answer.detector if isinstance(answer, Answer) else None
    if detector is None:
        return {}
    return {
        "detector": detector.model,
        "detector_version": detector.version,
        "detector_digest": detector.digest,
        "detector_generation": detector.generation,
    }
