"""Rules of families that find objects: one per family, and each needs evidence, not only a shape. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models_import.export_metadata import InferredValue, Source
from models_import.family_evidence import STRIDES, Export, Match, columns_of, found, only
from models_import.onnx_graph import text_of
from runners.families.detr import Detr
from runners.families.nanodet import NanoDet
from runners.families.rtdetr import RtDetr
from runners.families.yolov8_seg import YoloV8Seg
from runners.graph_check import GraphTensor
from runners.pixel_mask import PIXEL_MASK


def shapes(export: Export) -> Match | None:
    maps = [tensor for tensor in export.outputs if tensor.name == "predictions" and len(tensor.shape) == 4]
    if not maps or not (export.graph.name == "shapes" or export.chosen):
        return None
    count = columns_of(maps[0].shape[1], 4)
    why = f"the graph's name, and output {text_of(maps[0])}: 4 + one channel per label"
    return None if count is None else Match("shapes", found("shapes", why, maps[:1]), count)


def ultraface(export: Export) -> Match | None:
    """`scores` [N, K, 1 + C], background first, and `boxes` [N, K, 4]."""
    named = {tensor.name: tensor for tensor in export.outputs}
    scores, boxes = named.get("scores"), named.get("boxes")
    if scores is None or boxes is None or len(scores.shape) != 3 or len(boxes.shape) != 3:
        return None
    count = columns_of(scores.shape[2], 1)
    fits = boxes.shape[1:] == (scores.shape[1], 4) and count is not None
    if not fits or not (export.operator(scores) == "Softmax" or export.chosen):
        return None
    why = f"outputs {text_of(scores)} made by Softmax, and {text_of(boxes)}"
    labels = ("face",) if count == 1 else ()
    return Match("ultraface", found("ultraface", why, [scores, boxes]), count, labels)


def nanodet(export: Export) -> Match | None:
    """For each stride `cls_pred_stride_s` [N, n, C] and `dis_pred_stride_s` [N, n, 4 * B]."""
    named = {tensor.name: tensor for tensor in export.outputs}
    tensors = [named[name] for name in NanoDet.usual if name in named]
    if len(tensors) != len(NanoDet.usual) or any(len(tensor.shape) != 3 for tensor in tensors):
        return None
    for stride, scores, sides in zip(STRIDES, tensors[:3], tensors[3:], strict=True):
        cells = {export.cells([stride]), scores.shape[1], sides.shape[1]} - {None}
        if len({side for side in cells if isinstance(side, int)}) > 1:
            return None
    count = tensors[0].shape[2]
    why = f"outputs cls_pred_stride_* and dis_pred_stride_*, as {text_of(tensors[0])}"
    return Match("nanodet", found("nanodet", why, tensors), count if isinstance(count, int) else None)


def fastestdet(export: Export) -> Match | None:
    """One map [N, 5 + C, H / 16, W / 16] of activated channels."""
    tensor = only(export, 4)
    count = None if tensor is None else columns_of(tensor.shape[1], 5)
    if tensor is None or count is None:
        return None
    grid = tuple(side // 16 for side in reversed(export.size)) if export.size else tensor.shape[2:]
    joined = export.operator(tensor) == "Concat" and {"Softmax", "Sigmoid"} <= export.operators_into(tensor)
    if tensor.shape[2:] != grid or not (joined or export.chosen):
        return None
    why = f"output {text_of(tensor)}: 5 + one channel per label, joined of Sigmoid, Conv and Softmax"
    return Match("fastestdet", (*found("fastestdet", why, [tensor]), *_exponents()), count)


def _exponents() -> Iterator[InferredValue]:
    why = "graphs of v1 and v2 look alike: 1 and 1 in v1, 0.6 and 0.4 in v2; here v2"
    for name, value in (("objectness_exponent", 0.6), ("class_exponent", 0.4)):
        yield InferredValue(f"output.parameters.{name}", value, "assumption", why)


def yolox(export: Export) -> Match | None:
    """[N, cells of strides 8, 16 and 32, 5 + C], from none of the known exporters of other models."""
    tensor = only(export, 3)
    count = None if tensor is None else columns_of(tensor.shape[2], 5)
    if tensor is None or count is None or (export.metadata.exporter and not export.chosen):
        return None
    rows, cells = tensor.shape[1], export.cells(STRIDES)
    if rows != cells and cells is not None and (isinstance(rows, int) or not export.chosen):
        return None
    source, decoded, why = _yolox_boxes(export, tensor)
    if source == "assumption" and not export.chosen:
        return None
    fits = f"output {text_of(tensor)}: one row per cell of strides 8, 16 and 32, 5 + one column per label"
    parameter = InferredValue("output.parameters.decoded", decoded, source, why)
    return Match("yolox", (*found("yolox", fits, [tensor], source=source), parameter), count)


def _yolox_boxes(export: Export, tensor: GraphTensor) -> tuple[Source, bool, str]:
    """Whether the graph decodes its boxes: only then it has an exponential; else it ends by joining grids."""
    last = export.graph.makers.get(tensor.name)
    if export.graph.has("Exp"):
        return "graph", True, "the graph has the operator Exp, which decodes the sides"
    # Of heads like YOLOv8's, with rows turned, the joined parts are boxes and scores.
    if last is not None and last.type == "Transpose" and export.operators_into(tensor) == {"Concat"}:
        return "graph", False, "the graph ends by joining three grids, and has no Exp"
    return "assumption", False, "the graph ends as no export of YOLOX does"


def rtdetr(export: Export) -> Match | None:
    """The authors' three outputs with their input, or Hugging Face's two with labels from its config."""
    named = {tensor.name: tensor for tensor in export.outputs}
    fed = {tensor.name for tensor in export.graph.inputs} & set(RtDetr.fed)
    if fed and {"labels", "boxes", "scores"} <= named.keys():
        tensors = [named[name] for name in ("labels", "boxes", "scores")]
        why = "input orig_target_sizes, and outputs labels, boxes and scores"
        return Match("rtdetr", found("rtdetr", why, tensors))
    pair = [named[name] for name in ("logits", "pred_boxes") if name in named]
    if fed or len(pair) != 2 or any(len(tensor.shape) != 3 for tensor in pair):
        return None
    count = columns_of(pair[0].shape[2], 0)
    labels = export.metadata.value("labels")
    # DETR has the same outputs, and a column more for "no object".
    if not (export.chosen or (labels and len(labels) == count)):
        return None
    why = f"outputs {' and '.join(map(text_of, pair))}, with one column per label; others end so, too"
    return Match("rtdetr", found("rtdetr", why, pair, source="assumption"), count)


def detr(export: Export) -> Match | None:
    """`logits` [N, Q, K], `pred_boxes` [N, Q, 4], and a pixel mask, or one column more than labels."""
    named = {tensor.name: tensor for tensor in export.outputs}
    pair = [named[name] for name in Detr.usual if name in named]
    if len(pair) != 2 or any(len(tensor.shape) != 3 for tensor in pair):
        return None
    columns, labels = columns_of(pair[0].shape[2], 0), export.metadata.value("labels")
    masked = PIXEL_MASK in {tensor.name for tensor in export.graph.inputs}
    with_none = bool(labels) and columns == len(labels) + 1
    if not (masked or with_none or export.chosen):
        return None
    count = len(labels) if labels and columns in (len(labels), len(labels) + 1) else None
    why = f"outputs {' and '.join(map(text_of, pair))}, and " + (
        "an input pixel_mask" if masked else "a column for no object"
    )
    return Match("detr", found("detr", why, pair), count)


def yolov8(export: Export) -> Match | None:
    """An export of Ultralytics for the task detect: [4 + C, A], or [K, 6] end to end."""
    tensor = only(export, 3)
    if tensor is None or not (_is_ultralytics(export, "detect") or export.chosen):
        return None
    return _ultralytics(export, "yolov8", [tensor], 0)


def yolov8_seg(export: Export) -> Match | None:
    """An export of Ultralytics for the task segment: rows with a value per prototype, and the prototypes."""
    tensors = [tensor for name in YoloV8Seg.usual for tensor in export.outputs if tensor.name == name]
    if len(tensors) != 2 or [len(tensor.shape) for tensor in tensors] != [3, 4]:
        return None
    further = tensors[1].shape[1]
    if not isinstance(further, int) or not (_is_ultralytics(export, "segment") or export.chosen):
        return None
    return _ultralytics(export, "yolov8-seg", tensors, further)


def _ultralytics(export: Export, family: str, tensors: Sequence[GraphTensor], further: int) -> Match | None:
    """By the shape of the rows: raw however turned, or end to end; `further` values follow the scores."""
    tensor = tensors[0]
    rows, columns, cells = tensor.shape[1], tensor.shape[2], export.cells(STRIDES)
    labels = export.metadata.value("labels")
    if columns == 6 + further and rows != cells:
        count = len(labels) if labels else None
        return Match(family, found(family, f"output {text_of(tensor)}: end to end", tensors), count)
    raw, turned = columns_of(rows, 4 + further), columns_of(columns, 4 + further)
    count = raw if columns == cells else turned if rows == cells else None
    if count is None or (labels and len(labels) != count):
        return None
    why = f"output {text_of(tensor)}: 4 + one row per label, one column per cell of strides 8, 16 and 32"
    return Match(family, found(family, why, tensors), count)


def yolov5(export: Export) -> Match | None:
    """[3 anchors of each cell, 5 + C], with the names and the stride that its export writes."""
    tensor, cells = only(export, 3), export.cells(STRIDES)
    count = None if tensor is None else columns_of(tensor.shape[2], 5)
    if tensor is None or count is None or cells is None or tensor.shape[1] != 3 * cells:
        return None
    why = f"output {text_of(tensor)}: three rows for each cell, 5 + one column per label"
    return Match("yolov5", found("yolov5", why, [tensor]), count)


def _is_ultralytics(export: Export, task: str) -> bool:
    return "ultralytics" in (export.metadata.exporter or "").lower() and export.metadata.task == task
