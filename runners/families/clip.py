"""Family `clip`: which of some texts fits a picture best, by CLIP's two towers.

One graph with both towers: inputs `input_ids` and `attention_mask` int64 [T, L] beside the picture, output
`logits_per_image` [N, T]. Or two graphs, `image` and `text`, with the outputs `image_embeds` [N, D] and
`text_embeds` [T, D]: the logits are then `logit_scale` times the cosine. The scores are the softmax over the
texts (`CLIPModel` and `CLIPProcessor` of huggingface/transformers 4.57; Radford et al., arXiv 2103.00020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Detection, Options
from manifest.version_manifest import CONFIG_FILE, ModelConfig, Thresholds
from runners.compared_texts import ComparedTexts, TextParameters
from runners.families.base import Found, Outputs, expect
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.scores import softmax
from runners.session import Session

_LOGITS, _IMAGE = "logits_per_image", "image_embeds"
_TEXT_GRAPH, _TEXT = "text", "text_embeds"
#: Sets of texts whose vectors are kept.
_KEPT = 16


class ClipParameters(TextParameters):
    """How to compare."""

    logit_scale: float = Field(
        default=100.0, gt=0, le=1000, description="factor on the cosine, where the towers are two graphs"
    )
    top_k: int = Field(default=5, ge=1, le=1000, description="maximum number of texts in an answer")


class Clip(ComparedTexts[ClipParameters]):
    """Zero-shot classification: the request's texts, or the config's labels."""

    name = "clip"
    task = "zero-shot-classification"
    schema = ClipParameters
    takes = ("text_prompt", "top_k")
    usual_thresholds = Thresholds(score=0.0)

    def __init__(self, config: ModelConfig) -> None:
        """See `Family.__init__`."""
        super().__init__(config)
        if config.graphs:
            self.other_graphs = (_TEXT_GRAPH,)

    def prepare(self, folder: Path) -> None:
        """See `Family.prepare`: the tokenizer."""
        super().prepare(folder)
        self._vectors = lru_cache(_KEPT)(self._embedded)  # of texts; the same ones come again and again

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """`logits_per_image`, or `image_embeds` where there is a graph for texts."""
        wanted = _IMAGE if self.config.graphs else _LOGITS
        if wanted not in available:
            raise VersionFailed(
                f"family {self.name!r} reads {wanted}: the graph has {', '.join(available)}; the towers are "
                f"one graph, or two that {CONFIG_FILE} names image and text under graphs"
            )
        return (wanted,)

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:  # noqa: ARG002
        """See `Family.feed`; the texts are the same for all pictures, and their count is the first side."""
        if self.config.graphs:
            return {}
        return self.tokenizer.inputs(self.texts(options))

    def complete(
        self,
        outputs: Outputs,
        others: Mapping[str, Session],
        placed: Sequence[Geometry],  # noqa: ARG002
        options: Options,
    ) -> Outputs:
        """See `Family.complete`: the logits [N, T]."""
        if not others:
            return outputs
        pictures, texts = outputs[_IMAGE], self._vectors(others[_TEXT_GRAPH], self.texts(options))
        if pictures.ndim != 2 or pictures.shape[1] != texts.shape[1]:
            raise ModelFailed(
                f"{_IMAGE} should be [N, {texts.shape[1]}] as {_TEXT}, found {list(pictures.shape)}"
            )
        return {_LOGITS: self.parameters.logit_scale * _unit(pictures) @ texts.T}

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape = outputs[_LOGITS].shape
        expect(len(shape) == 1 and shape[0] > 0, "[T] (one value per text)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:  # noqa: ARG002
        """See `Family.find`."""
        texts = self.phrases(options)
        scores = softmax(outputs[_LOGITS].astype(np.float64))
        expect(len(scores) == len(texts), f"[{len(texts)}] (one value per text)", scores.shape)
        best = np.argsort(-scores, kind="stable")
        best = best[: min(options.top_k or self.parameters.top_k, options.max_detections)]
        least = self.threshold(options)
        return Found(
            tuple(
                Detection(texts[place], place, float(scores[place]), None)
                for place in best.tolist()
                if scores[place] >= least
            )
        )

    def _embedded(self, graph: Session, texts: tuple[str, ...]) -> Floats:
        """The vectors [T, D] of texts, of length 1."""
        inputs = self.tokenizer.inputs(texts)
        return _unit(graph.run(inputs, [_TEXT], len(texts))[_TEXT])


def _unit(vectors: NDArray[np.floating]) -> Floats:
    """The rows divided by their lengths. Raises `ModelFailed` for one without direction."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not lengths.all():
        raise ModelFailed("a vector is zero: it has no direction")
    unit: Floats = vectors / lengths
    return unit
