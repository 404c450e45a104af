"""What became of predictions: counted and logged, those that were made and those that were not."""

from __future__ import annotations

from api import logs
from api.metrics import Metrics
from hotswap import status
from hotswap.errors import ServingError
from hotswap.hooks import NoHooks
from hotswap.reconciler import Reconciler
from hotswap.requests import Answer, PredictRequest, TensorAnswer, TensorRequest


class Outcomes(NoHooks):
    """Hears of every prediction of this worker."""

    def __init__(self, metrics: Metrics, reconciler: Reconciler) -> None:
        self._metrics = metrics
        self._reconciler = reconciler

    def after_predict(self, request: PredictRequest, answer: Answer) -> None:  # noqa: ARG002
        """Pictures were answered for."""
        self._metrics.answered(answer)
        logs.answered(answer)

    def after_infer(self, request: TensorRequest, answer: TensorAnswer) -> None:  # noqa: ARG002
        """Tensors were answered for."""
        self._metrics.answered(answer)
        logs.inferred(answer)

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float = 0.0) -> None:
        """A prediction was not made, told after `seconds`."""
        known = model if model is not None and status.known(self._reconciler, model) else None
        self._metrics.refused(known, error.code, seconds)
        logs.refused(request_id, known, error.code, error.message)
