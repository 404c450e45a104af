"""Pictures in the Open Inference Protocol: one BYTES input, and predictions as output tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from api import base64_text
from api import options as predict_options
from api.masks import mask_body
from api.open_inference.types import BYTES, Parameters, Tensor
from hotswap.errors import PICTURE_FORMATS, BadRequest, place_of_image
from hotswap.predictions import Detection, Options, Picture, Prediction

#: The input's name in the metadata; any other name is accepted too.
INPUT = "image"
#: Most pictures of one request.
MOST = 32
_NO_BOX = (0.0, 0.0, 1.0, 1.0)

_LABELS = ("scores", "label_ids", "labels")
_BOXES = ("num_detections", "boxes", *_LABELS)
#: The task whose outputs are those of the graph.
TENSORS = "tensors"
#: The output tensors by the model's task; `tensors` has those of its graph.
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "object-detection": _BOXES,
    "open-vocabulary-detection": (*_BOXES, "phrases"),
    "image-classification": _LABELS,
    "zero-shot-classification": _LABELS,
    "image-embedding": ("embedding",),
    "semantic-segmentation": (*_BOXES, "masks"),
    "instance-segmentation": (*_BOXES, "masks"),
    "prompted-segmentation": (*_BOXES, "masks"),
    "custom": _LABELS,
    TENSORS: (),
}


def has_pictures(inputs: Sequence[Tensor]) -> bool:
    """Whether a request sends pictures instead of the graph's own tensors."""
    return len(inputs) == 1 and inputs[0].datatype == BYTES


def read(tensor: Tensor) -> tuple[Picture, ...]:
    """The pictures of a BYTES tensor [N] or [N, 1]. Raises `BadRequest` for another shape or number.

    Clients send [N, 1] to models whose first side is the batch.
    """
    count, *rest = tensor.shape or (0,)
    if not 1 <= count <= MOST or any(side != 1 for side in rest):
        raise BadRequest(
            f"{tensor.name}: pictures must be BYTES of shape [N] or [N, 1], N from 1 to {MOST}, "
            f"found {list(tensor.shape[:8])}"
        )
    elements = cast(Sequence[bytes], plain(tensor).data)
    for index, element in enumerate(elements):
        if not element:
            where = f"{place_of_image(index, len(elements))}{tensor.name}"
            raise BadRequest(f"{where}: empty; send the bytes of a {PICTURE_FORMATS}")
    return tuple(Picture(encoded=element) for element in elements)


def plain(tensor: Tensor) -> Tensor:
    """The tensor with its texts decoded. Raises `BadRequest` if one is not base64."""
    if not tensor.text:
        return tensor
    texts = cast(Sequence[bytes], tensor.data)
    elements = [
        base64_text.decoded(text, f"{place_of_image(index, len(texts))}{tensor.name}")
        for index, text in enumerate(texts)
    ]
    return replace(tensor, data=elements, text=False)


def options(parameters: Parameters) -> Options:
    """The options among the parameters, checked as in `/predict`; others are not ours to refuse."""
    return predict_options.options(parameters)


def _check_names(names: Sequence[str], offered: Sequence[str]) -> None:
    for name in names:
        if name not in offered:
            raise BadRequest(f"outputs: there is no output {name[:64]!r}; pictures have {', '.join(offered)}")


def answer(task: str, predictions: Sequence[Prediction], names: Sequence[str]) -> tuple[Tensor, ...]:
    """The output tensors for N pictures, in the requested order. Raises `BadRequest` for an unknown name."""
    if task == TENSORS:
        return _graph_outputs(predictions, names)
    _check_names(names, OUTPUTS[task])
    return tuple(_MAKE[name](predictions) for name in names or OUTPUTS[task])


def _graph_outputs(predictions: Sequence[Prediction], names: Sequence[str]) -> tuple[Tensor, ...]:
    """The outputs of the graph, with one row per picture."""
    given = [cast(Mapping[str, NDArray[Any]], item.tensors) for item in predictions]
    _check_names(names, tuple(given[0]))
    return tuple(Tensor.of(name, _stacked(name, given)) for name in names or given[0])


def _stacked(name: str, given: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[Any]:
    rows = [tensors[name] for tensors in given]
    if any(row.shape != rows[0].shape for row in rows):
        raise BadRequest(f"output {name}: its shape differs between the pictures; send them one by one")
    return np.stack(rows)


def _rows(predictions: Sequence[Prediction]) -> tuple[int, int]:
    """N, and the largest number of detections of one picture."""
    return len(predictions), max((len(item.detections) for item in predictions), default=0)


def _fill(rows: NDArray[Any], predictions: Sequence[Prediction], value: Callable[[Detection], Any]) -> None:
    """Write a value of each detection to the start of its picture's row, a row at once."""
    for row, item in zip(rows, predictions, strict=True):
        if item.detections:
            row[: len(item.detections)] = [value(detection) for detection in item.detections]


def _num_detections(predictions: Sequence[Prediction]) -> Tensor:
    return Tensor.of("num_detections", np.array([len(item.detections) for item in predictions], np.int32))


def _boxes(predictions: Sequence[Prediction]) -> Tensor:
    boxes = np.zeros((*_rows(predictions), 4), np.float32)
    _fill(boxes, predictions, lambda detection: detection.bbox or _NO_BOX)
    return Tensor.of("boxes", boxes)


def _scores(predictions: Sequence[Prediction]) -> Tensor:
    scores = np.zeros(_rows(predictions), np.float32)
    _fill(scores, predictions, attrgetter("score"))
    return Tensor.of("scores", scores)


def _label_ids(predictions: Sequence[Prediction]) -> Tensor:
    ids = np.full(_rows(predictions), -1, np.int32)
    _fill(ids, predictions, attrgetter("label_id"))
    return Tensor.of("label_ids", ids)


def _labels(predictions: Sequence[Prediction]) -> Tensor:
    return _texts("labels", predictions, lambda detection: detection.label.encode())


def _phrases(predictions: Sequence[Prediction]) -> Tensor:
    return _texts("phrases", predictions, lambda detection: (detection.phrase or "").encode())


def _masks(predictions: Sequence[Prediction]) -> Tensor:
    """Masks as JSON texts of COCO's run lengths."""
    return _texts(
        "masks",
        predictions,
        lambda detection: b"" if detection.mask is None else orjson.dumps(mask_body(detection.mask, "rle")),
    )


def _texts(name: str, predictions: Sequence[Prediction], value: Callable[[Detection], bytes]) -> Tensor:
    rows, most = _rows(predictions)
    texts: list[bytes] = []
    for item in predictions:
        texts += [value(detection) for detection in item.detections]
        texts += [b""] * (most - len(item.detections))
    return Tensor(name, BYTES, (rows, most), texts)


def _embedding(predictions: Sequence[Prediction]) -> Tensor:
    return Tensor.of("embedding", np.stack([cast(np.ndarray, item.embedding) for item in predictions]))


_MAKE: Mapping[str, Callable[[Sequence[Prediction]], Tensor]] = {
    "num_detections": _num_detections,
    "boxes": _boxes,
    "scores": _scores,
    "label_ids": _label_ids,
    "labels": _labels,
    "phrases": _phrases,
    "masks": _masks,
    "embedding": _embedding,
}
