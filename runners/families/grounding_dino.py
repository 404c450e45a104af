"""Family `grounding-dino`: whatever a text prompt names, found by Grounding DINO.

Inputs beside the picture, in the two forms of its exporters:

- Hugging Face's: `input_ids`, `token_type_ids`, `attention_mask` int64 [N, L] of the prompt, and `pixel_mask`
  [N, height, width].
- The authors': `input_ids`, `token_type_ids`, `position_ids` [N, L], which count in each phrase from 0, and
  `attention_mask` and `text_token_mask`, of which one is [N, L] and one, if there, [N, L, L]: which tokens
  see each other, those of one phrase (`generate_masks_with_special_tokens_and_transfer_map` of
  models/GroundingDINO/bertwarper.py in IDEA-Research/GroundingDINO, commit 856dde2). Where L is fixed, the
  prompt is filled up.

Outputs: `logits` [Q, 256], one column per token, -inf in those that are not used, and `pred_boxes` or `boxes`
[Q, 4], centre and sides in 0..1 of the input. The score of a query is its greatest probability over all
tokens; its phrase is the one whose tokens above `text_threshold` have the greatest sum. Names and formulas:
`GroundingDinoProcessor` of huggingface/transformers, commit 0696dcf6 (processing_grounding_dino.py); phrases
as in the original (`caption` of util/inference.py: lower case, ended by a full stop).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hotswap.errors import BadRequest
from hotswap.predictions import Detection, Options
from manifest.version_manifest import Thresholds
from runners.boxes import best_boxes, from_centres
from runners.families.base import Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.graph_check import GraphTensor
from runners.interpolate import Floats
from runners.named_outputs import NamedOutputs
from runners.pixel_mask import PIXEL_MASK, PixelMask
from runners.scores import sigmoid
from runners.text_prompt import PhraseTokenizer, Prompt, prompt_inputs, rows

#: The columns of `logits`: the tokens that a prompt may have.
_MOST_TOKENS = 256


class GroundingDinoParameters(Parameters):
    """What the model looks for, and what counts as naming it."""

    text_prompt: str | None = Field(
        default=None, max_length=2000, description="what to find if the request does not say"
    )
    text_threshold: float = Field(
        default=0.25, ge=0, le=1, description="least probability of a token that names a box"
    )


class GroundingDino(NamedOutputs[GroundingDinoParameters]):
    """Detectors of whatever a text names."""

    name = "grounding-dino"
    task = "open-vocabulary-detection"
    schema = GroundingDinoParameters
    labelled = False
    tokenized = True
    takes = ("text_prompt", "text_threshold", "nms_threshold")
    fed = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "position_ids",
        "text_token_mask",
        PIXEL_MASK,
    )
    usual = ("logits", "pred_boxes")
    # The original suppresses nothing.
    usual_thresholds = Thresholds(score=0.3, nms_iou=1.0)
    unbounded = ("logits",)

    def connect(self, inputs: Sequence[GraphTensor]) -> None:
        """See `Family.connect`: which inputs of the text there are, and their shapes."""
        self._mask = PixelMask(inputs)
        self._inputs = [tensor for tensor in inputs if tensor.name in self.fed and tensor.name != PIXEL_MASK]

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """See `NamedOutputs.reads`; the boxes go by either name."""
        if self.config.output.names is None and "pred_boxes" not in available:
            self.names = ("logits", "boxes")
        return super().reads(available)

    def prepare(self, folder: Path) -> None:
        """See `Family.prepare`: the tokenizer."""
        self._tokenizer = PhraseTokenizer(folder / str(self.config.tokenizer), _MOST_TOKENS)

    def check_options(self) -> Options:
        """See `Family.check_options`."""
        return Options(threshold=0.0, text_prompt=self.parameters.text_prompt or "object")

    def accept(self, options: Options) -> None:
        """See `Family.accept`; the prompt may be the model's own."""
        super().accept(options)
        self._prompt(options)

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:
        """See `Family.feed`."""
        text = prompt_inputs(self._prompt(options), self._inputs)
        fed = {name: rows(array, len(placed)) for name, array in text.items()}
        return fed | {PIXEL_MASK: self._mask.of(placed)}

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        logits, boxes = (outputs[name].shape for name in self.names)
        fits = len(logits) == 2 and logits[1] == _MOST_TOKENS
        expect(fits, f"[Q, {_MOST_TOKENS}] (one column per token) for logits", logits)
        expect(boxes == (logits[0], 4), f"[{logits[0]}, 4] for boxes", boxes)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        prompt = self._prompt(options)
        logits, boxes = (outputs[name] for name in self.names)
        tokens = sigmoid(logits[:, : len(prompt.ids)].astype(np.float64))
        scores = tokens.max(axis=1)
        hits = np.flatnonzero(scores > self.threshold(options))
        named = tokens[hits] * (tokens[hits] > self._text_threshold(options))
        scores, phrase = scores[hits], _best_phrase(named, prompt)
        kept, restored = best_boxes(
            from_centres(boxes[hits]),
            scores,
            phrase,
            geometry=geometry,
            nms_iou=self.nms_iou(options),
            limit=options.max_detections,
        )
        best = zip(restored.tolist(), scores[kept].tolist(), phrase[kept].tolist(), named[kept], strict=True)
        return Found(
            tuple(
                Detection(prompt.phrases[place], place, score, (x1, y1, x2, y2), self._text(prompt, tokens))
                for (x1, y1, x2, y2), score, place, tokens in best
            )
        )

    def _prompt(self, options: Options) -> Prompt:
        text = options.text_prompt or self.parameters.text_prompt
        if text is None:
            raise BadRequest('text_prompt: missing; name what to find, such as "bird . cat ."')
        return self._tokenizer.prompt(text)

    def _text_threshold(self, options: Options) -> float:
        asked = options.text_threshold
        return self.parameters.text_threshold if asked is None else asked

    def _text(self, prompt: Prompt, named: Floats) -> str:
        """The tokens that name a box, as the original reads them: in their order, whatever their phrase."""
        inner = named[1:-1] > 0  # without [CLS] and [SEP]
        return self._tokenizer.text(prompt.ids[1:-1][inner].tolist())


def _best_phrase(named: Floats, prompt: Prompt) -> NDArray[Any]:
    """The place of the phrase whose tokens have the greatest sum, for each box."""
    belongs = prompt.phrase_of[:, None] == np.arange(len(prompt.phrases))
    best: NDArray[Any] = (named @ belongs).argmax(axis=1)
    return best
