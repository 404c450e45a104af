"""The head of detectors with a set of queries, such as DETR: candidates as corners, and the best of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import Options
from runners.boxes import as_detections, from_centres
from runners.families.base import Family, Found
from runners.geometry import Geometry
from runners.interpolate import Floats
from runners.scores import best_pairs


class QueryBoxes(NamedTuple):
    """Boxes [K, 4] as corners in 0..1 of the input, scores [K] and labels [K]."""

    boxes: Floats
    scores: Floats
    labels: NDArray[np.intp]


def boxes_of_pairs(scores: Floats, boxes: Floats) -> QueryBoxes:
    """The best pairs of query and class, from scores [Q, C] and boxes [Q, 4] as centre and sides."""
    query, label = best_pairs(scores)
    return QueryBoxes(from_centres(boxes[query]), scores[query, label], label)


def boxes_of_queries(scores: Floats, boxes: Floats) -> QueryBoxes:
    """All queries, each with its best class; the arrays are the same."""
    return QueryBoxes(from_centres(boxes), scores.max(axis=1), scores.argmax(axis=1))


def found_by(family: Family[Any], candidates: QueryBoxes, geometry: Geometry, options: Options) -> Found:
    """Candidates of a label of the config, above the threshold; nothing is suppressed unless it is asked."""
    boxes, scores, labels = candidates
    good = (scores > family.threshold(options)) & (labels < len(family.config.labels))
    return Found(
        as_detections(
            boxes[good],
            scores[good],
            labels[good],
            labels=family.config.labels,
            geometry=geometry,
            nms_iou=family.nms_iou(options),
            limit=options.max_detections,
        )
    )
