"""Family `sam`: the pixels of what points or a box show, by Segment Anything (SAM, MobileSAM).

Two graphs. `encoder`: a picture [1, 3, S, S], its longer side resized to S, zeros beside it, gives
`image_embeddings`, of which the last pictures' are kept: another prompt costs the decoder alone. `decoder`,
in one of two forms, known by its inputs:

- `input_points` [1, 1, P, 2], `input_labels` int64 [1, 1, P], the encoder's outputs -> `iou_scores`
  [1, 1, M], `pred_masks` [1, 1, M, h, w] (`SamOnnxConfig` of huggingface/optimum). It takes no boxes.
- `point_coords` [1, P, 2], `point_labels` [1, P], `mask_input`, `has_mask_input`, `orig_im_size` ->
  `iou_predictions` [1, M], `low_res_masks` [1, M, h, w] (scripts/export_onnx_model.py of
  ChaoningZhang/MobileSAM, commit 20a79934). Corners of a box are points with the labels 2 and 3; without a
  box a point (0, 0) with the label -1 follows. Of four masks the first is for unambiguous prompts and is
  left out.

Masks are interpolated to S, cut to the picture, interpolated to its size, and inside where above 0
(`SamImageProcessor.post_process_masks` of huggingface/transformers 4.57). `low_res_masks` rather than
`masks`: in some exports the latter are cut for the picture of the export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import BadRequest, ModelFailed
from hotswap.predictions import Box, Detection, Options, Point
from manifest.version_manifest import Thresholds
from runners.families.base import Family, Found, Outputs, Parameters, expect
from runners.geometry import Geometry
from runners.interpolate import Floats, bilinear
from runners.interpolated_mask import mask_above_zero
from runners.mask_runs import box_of_mask
from runners.session import Session

_DECODER = "decoder"
_SCORES, _MASKS = "scores", "masks"
_LABEL = "object"
_TOP_LEFT, _BOTTOM_RIGHT, _NO_POINT = 2, 3, -1
_NEEDS = "name a place, such as points [[0.5, 0.5, 1]] in 0..1 of the picture, or a box"


class Sam(Family[Parameters]):
    """Segmentation of what a request points at: one object for all points, and one for each box."""

    name = "sam"
    task = "prompted-segmentation"
    labelled = False
    takes = ("points", "boxes", "top_k")
    usual_thresholds = Thresholds(score=0.0)
    other_graphs = (_DECODER,)
    remembered = 8

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """All outputs of the encoder: the decoder takes them by the same names."""
        return tuple(self.config.output.names or available)

    def check_options(self) -> Options:
        """See `Family.check_options`."""
        return Options(threshold=0.0, points=((0.5, 0.5, 1),))

    def accept(self, options: Options) -> None:
        """See `Family.accept`: points, boxes, or points with one box."""
        super().accept(options)
        if not options.points and not options.boxes:
            raise BadRequest(f"points: missing; {_NEEDS}")
        if options.points and len(options.boxes) > 1:
            raise BadRequest("boxes: each is an object of its own; send points with one box at most")

    def complete(
        self,
        outputs: Outputs,
        others: Mapping[str, Session],
        placed: Sequence[Geometry],
        options: Options,
    ) -> Outputs:
        """See `Family.complete`: `scores` [1, O, M] and `masks` [1, O, M, h, w] of O objects."""
        decoder, (geometry,) = others[_DECODER], placed
        run = _by_points if "input_points" in _names(decoder) else _by_points_and_boxes
        found = [run(decoder, outputs, geometry, *prompt) for prompt in _prompts(options)]
        return {
            _SCORES: np.stack([scores for scores, _ in found])[None],
            _MASKS: np.stack([masks for _, masks in found])[None],
        }

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        scores, masks = outputs[_SCORES].shape, outputs[_MASKS].shape
        fits = len(scores) == 2 and len(masks) == 4 and masks[:2] == scores and min(masks) > 0
        expect(fits, "[O, M] for scores and [O, M, h, w] for masks", masks)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`; `top_k` masks of each object, the best alone by default."""
        found: list[Detection] = []
        for scores, masks in zip(outputs[_SCORES], outputs[_MASKS], strict=True):
            best = np.argsort(-scores, kind="stable")[: options.top_k or 1]
            found += _detections(scores[best], masks[best], geometry)
        least = self.threshold(options)
        good = sorted((each for each in found if each.score >= least), key=lambda each: -each.score)
        return Found(tuple(good[: options.max_detections]))


def _prompts(options: Options) -> Iterator[tuple[tuple[Point, ...], Box | None]]:
    """Points and box of each object."""
    if len(options.boxes) > 1:
        yield from (((), box) for box in options.boxes)
    else:
        yield options.points, next(iter(options.boxes), None)


def _by_points(
    decoder: Session, encoded: Outputs, geometry: Geometry, points: Sequence[Point], box: Box | None
) -> tuple[Floats, Floats]:
    if box is not None:
        raise BadRequest("boxes: this export of the model takes points alone")
    inputs = {
        **encoded,
        "input_points": _placed([(x, y) for x, y, _ in points], geometry)[None, None],
        "input_labels": np.array([[[label for _, _, label in points]]], np.int64),
    }
    outputs = decoder.run(inputs, ("iou_scores", "pred_masks"), 1)
    return _of_one_object(outputs["iou_scores"][0], outputs["pred_masks"][0])


def _by_points_and_boxes(
    decoder: Session, encoded: Outputs, geometry: Geometry, points: Sequence[Point], box: Box | None
) -> tuple[Floats, Floats]:
    places = [(x, y) for x, y, _ in points]
    labels = [label for _, _, label in points]
    if box is not None:
        places += [(box[0], box[1]), (box[2], box[3])]
        labels += [_TOP_LEFT, _BOTTOM_RIGHT]
    coordinates = _placed(places, geometry)
    if box is None:
        coordinates = np.concatenate([coordinates, np.zeros((1, 2), np.float32)])
        labels.append(_NO_POINT)
    inputs = {
        **encoded,
        "point_coords": coordinates[None],
        "point_labels": np.array([labels], np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        # Its own masks are not asked for: at the picture's size they cost more, and fail for thin pictures.
        "orig_im_size": np.array([geometry.height, geometry.width], np.float32),
    }
    outputs = decoder.run(inputs, ("iou_predictions", "low_res_masks"), 1)
    scores, masks = outputs["iou_predictions"], outputs["low_res_masks"]
    if scores.shape[-1] > 1:
        scores, masks = scores[:, 1:], masks[:, 1:]
    return _of_one_object(scores, masks)


def _of_one_object(scores: Floats, masks: Floats) -> tuple[Floats, Floats]:
    """Scores [M] and masks [M, h, w]. Raises `ModelFailed` for other shapes."""
    if scores.ndim != 2 or masks.ndim != 4 or scores.shape != masks.shape[:2] or len(scores) != 1:
        raise ModelFailed(
            f"the decoder should give scores [1, M] and masks [1, M, h, w], found {list(scores.shape)} and "
            f"{list(masks.shape)}"
        )
    return scores[0], masks[0]


def _placed(places: Sequence[tuple[float, float]], geometry: Geometry) -> NDArray[np.float32]:
    """Places in 0..1 of the picture as pixels of the input [P, 2]."""
    left, top, right, bottom = geometry.target
    return np.array(
        [(left + x * (right - left), top + y * (bottom - top)) for x, y in places], np.float32
    ).reshape(-1, 2)


def _detections(scores: Floats, masks: Floats, geometry: Geometry) -> Iterator[Detection]:
    width, height = geometry.picture
    whole = bilinear(masks.astype(np.float32), geometry.height, geometry.width)
    for score, mask in zip(scores.tolist(), geometry.inside(whole), strict=True):
        inside = mask_above_zero(mask, height, width)
        box = box_of_mask(inside)
        if box is not None:
            yield Detection(_LABEL, 0, min(1.0, max(0.0, score)), box, mask=inside)


def _names(graph: Session) -> set[str]:
    return {tensor.name for tensor in graph.inputs}
