"""The adapter of the team `fruit`: whether a fruit has a defect. A template for other teams, too.

Its weights are made by `examples/fruit/train.py`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

_LABELS = ("ok", "defect")
_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "fruit_best.onnx"


class FruitRunner:
    """`label` is ok or defect, `score` how sure it is, `defect_score` how likely a defect is."""

    def __init__(self, weights_path: str | None = None, model_tag: str | None = None) -> None:
        """Open the weights; `model_tag` is the version, such as fruit:v2."""
        self.model_tag = model_tag
        self._session = onnxruntime.InferenceSession(
            weights_path or str(_WEIGHTS), providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0]

    def run(
        self,
        image_bytes_or_uri: bytes | str,
        model_tag: str | None = None,  # noqa: ARG002 - of the interface; it is that of the weights
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Look at a picture: its bytes, or the path of a file. `extra` may move the `threshold` of a defect.

        Raises `OSError` for what is no picture, `ValueError` for a threshold outside 0..1.
        """
        threshold = float((extra or {}).get("threshold", 0.5))
        if not 0 <= threshold <= 1:
            raise ValueError(f"extra.threshold: allowed is 0..1, found {threshold}")
        source = (
            io.BytesIO(image_bytes_or_uri) if isinstance(image_bytes_or_uri, bytes) else image_bytes_or_uri
        )
        side = self._input.shape[2]
        with Image.open(source) as image:
            pixels = np.asarray(image.convert("RGB").resize((side, side)), np.float32) / 255
        (scores,) = self._session.run(["scores"], {self._input.name: pixels.transpose(2, 0, 1)[None]})
        defect = float(scores[0][1])
        label = _LABELS[defect >= threshold]
        return {"label": label, "score": defect if label == "defect" else 1 - defect, "defect_score": defect}
