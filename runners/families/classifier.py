"""Family `classifier`: one score per label, reported as labels of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from hotswap.errors import VersionFailed
from hotswap.predictions import Detection, Options
from manifest.version_manifest import CONFIG_FILE
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.scores import as_scores, softmax

_HINT = f"if they are logits, {CONFIG_FILE} should set output.parameters.softmax to true"


class ClassifierParameters(Parameters):
    """The output with the scores, and how to read them."""

    scores: str | None = Field(
        default=None, description="graph output [N, C]; default: output.names, or the only output"
    )
    softmax: bool = Field(default=False, description="the output holds logits")
    top_k: int = Field(default=5, ge=1, le=1000, description="maximum number of labels")


class Classifier(Family[ClassifierParameters]):
    """Any classifier of whole pictures."""

    name = "classifier"
    task = "image-classification"
    schema = ClassifierParameters
    takes = ("top_k",)

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """The output in `output.parameters.scores`; by default see `Family.reads`."""
        named = self.parameters.scores
        if named is None:
            return super().reads(available)
        if named not in available:
            raise VersionFailed(
                f"{CONFIG_FILE}: output.parameters.scores: the graph has "
                f"{', '.join(available)}, found {named!r}"
            )
        return (named,)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        array, count = only(outputs), len(self.config.labels)
        expect(array.size == count, f"[{count}] (one score per label)", array.shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:  # noqa: ARG002
        """See `Family.find`."""
        scores = self._scores(only(outputs).ravel().astype(np.float64))
        order = np.argsort(-scores, kind="stable")
        best = order[: min(options.top_k or self.parameters.top_k, options.max_detections)]
        least = self.threshold(options)
        return Found(tuple(self._label(i, scores) for i in best.tolist() if scores[i] >= least))

    def _scores(self, values: Floats) -> Floats:
        return softmax(values) if self.parameters.softmax else as_scores(values, "scores", _HINT)

    def _label(self, label_id: int, scores: Floats) -> Detection:
        return Detection(self.config.labels[label_id], label_id, float(scores[label_id]), None)
