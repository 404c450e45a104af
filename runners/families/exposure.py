"""Family `exposure`: labels a frame dark, normal or bright; the graph is made by `exposure_graph.py`."""

from __future__ import annotations

from collections.abc import Sequence

from hotswap.predictions import Detection, Options
from manifest.version_manifest import CONFIG_FILE, BadManifest, ModelConfig
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.scores import as_scores

LABELS = ("dark", "normal", "bright")
_OUTPUT = "scores"


class Exposure(Family[Parameters]):
    """Triage of camera frames by their mean luminance."""

    name = "exposure"
    task = "image-classification"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if tuple(config.labels) != LABELS:
            raise BadManifest(f"{CONFIG_FILE}: labels: must be {list(LABELS)}, found {config.labels[:5]}")

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """The output in `output.names`, else `scores`, else the only one."""
        if self.config.output.names is None and _OUTPUT in available:
            return (_OUTPUT,)
        return super().reads(available)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = only(outputs).shape
        expect(shape == (len(LABELS),), f"[{len(LABELS)}] (one score per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:  # noqa: ARG002
        """The best label, if it reaches the threshold."""
        scores = as_scores(only(outputs), "scores")
        best = int(scores.argmax())
        score = float(scores[best])
        if score < self.threshold(options) or options.max_detections < 1:
            return Found(())
        return Found((Detection(self.config.labels[best], best, score, None),))
