"""Which model family a graph fits, by its outputs and the operators that make them. Pure.

There is one rule per family. A rule needs evidence, not only a shape that would do; where the caller chose
the family, the shape suffices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from models_import.export_metadata import ExportMetadata, InferredValue, Source
from models_import.onnx_graph import OnnxGraph, text_of
from runners.families.exposure import LABELS as EXPOSURE_LABELS
from runners.families.grounding_dino import GroundingDino
from runners.families.index import FAMILIES
from runners.families.nanodet import NanoDet
from runners.families.rtdetr import RtDetr
from runners.graph_check import GraphTensor, Side
from runners.grids import count_of

_STRIDES = (8, 16, 32)
_IMAGENET = 1000
_ACTIVATIONS = ("Softmax", "Sigmoid")
_LINEAR = ("Gemm", "MatMul", "Add", "Conv", "GlobalAveragePool", "ReduceMean")
#: Words in the names of outputs.
_PROBABILITY_WORDS = {"probabilities", "probability", "probs", "prob", "scores", "softmax"}
_CLASS_WORDS = _PROBABILITY_WORDS | {"logits", "logit", "classes", "class", "classifier", "classification"}
_VECTOR_WORDS = {"embedding", "embeddings", "embed", "embeds", "feature", "features", "pooler", "descriptor"}
_HIDDEN_STATES = "last_hidden_state"


@dataclass(frozen=True, slots=True)
class Export:
    """A graph with what its export says of itself. `size` is width and height, None if they are open."""

    graph: OnnxGraph
    metadata: ExportMetadata
    size: tuple[int, int] | None
    chosen: bool = False

    @property
    def outputs(self) -> Sequence[GraphTensor]:
        return self.graph.outputs

    def operator(self, tensor: GraphTensor) -> str:
        """The type of the operator that computes a tensor; empty if there is none."""
        operator = self.graph.operator_of(tensor.name)
        return operator.type if operator else ""

    def operators_into(self, tensor: GraphTensor) -> set[str]:
        """The types of the operators that compute the inputs of that operator."""
        operator = self.graph.operator_of(tensor.name)
        into = [self.graph.operator_of(name) for name in operator.inputs] if operator else []
        return {each.type for each in into if each}

    def cells(self, strides: Sequence[int]) -> int | None:
        """The number of cells of these strides; None for an open size."""
        if self.size is None:
            return None
        return count_of(*self.size, strides)


@dataclass(frozen=True, slots=True)
class Match:
    """A family that fits. `label_count` is None where the graph leaves it open or has no labels.

    `labels` are those that every export of the family has.
    """

    family: str
    findings: tuple[InferredValue, ...]
    label_count: int | None = None
    labels: tuple[str, ...] = ()


Rule = Callable[[Export], Match | None]


def match_family(export: Export) -> Match | None:
    """The family with evidence for it in the graph or its metadata; None without one."""
    matches = (rule(export) for family, rule in RULES.items() if _feeds_all(export, family))
    return next((match for match in matches if match is not None), None)


def match_chosen(export: Export, family: str) -> Match | None:
    """The match with a family that the caller chose; None if the graph's shapes do not fit it."""
    match = RULES[family](export) or RULES[family](replace(export, chosen=True))
    if match is None or not _feeds_all(export, family):
        return None
    findings = (InferredValue("family", family, "given", "chosen by the caller"), *match.findings[1:])
    return replace(match, findings=findings)


def _feeds_all(export: Export, family: str) -> bool:
    """Whether the family feeds all inputs of the graph but one, the pictures'."""
    return sum(tensor.name not in FAMILIES[family].fed for tensor in export.graph.inputs) == 1


def is_vector(tensor: GraphTensor) -> bool:
    """Whether a tensor [N, D] is one vector per picture; axes of length 1 do not count."""
    return len(tensor.shape) > 1 and sum(side != 1 for side in tensor.shape[1:]) <= 1


def _exposure(export: Export) -> Match | None:
    graph = export.graph
    ours = (graph.producer, graph.name) == ("okawari", "exposure")
    scores = next((tensor for tensor in graph.outputs if tensor.name == "scores" and is_vector(tensor)), None)
    if scores is None or _length(scores) != len(EXPOSURE_LABELS) or not (ours or export.chosen):
        return None
    why = "the graph's producer and name"
    return Match("exposure", _found("exposure", why, [scores]), len(EXPOSURE_LABELS), EXPOSURE_LABELS)


def _shapes(export: Export) -> Match | None:
    maps = [tensor for tensor in export.outputs if tensor.name == "predictions" and len(tensor.shape) == 4]
    if not maps or not (export.graph.name == "shapes" or export.chosen):
        return None
    count = _columns(maps[0].shape[1], 4)
    why = f"the graph's name, and output {text_of(maps[0])}: 4 + one channel per label"
    return None if count is None else Match("shapes", _found("shapes", why, maps[:1]), count)


def _ultraface(export: Export) -> Match | None:
    """`scores` [N, K, 1 + C], background first, and `boxes` [N, K, 4]."""
    named = {tensor.name: tensor for tensor in export.outputs}
    scores, boxes = named.get("scores"), named.get("boxes")
    if scores is None or boxes is None or len(scores.shape) != 3 or len(boxes.shape) != 3:
        return None
    count = _columns(scores.shape[2], 1)
    fits = boxes.shape[1:] == (scores.shape[1], 4) and count is not None
    if not fits or not (export.operator(scores) == "Softmax" or export.chosen):
        return None
    why = f"outputs {text_of(scores)} made by Softmax, and {text_of(boxes)}"
    labels = ("face",) if count == 1 else ()
    return Match("ultraface", _found("ultraface", why, [scores, boxes]), count, labels)


def _nanodet(export: Export) -> Match | None:
    """For each stride `cls_pred_stride_s` [N, n, C] and `dis_pred_stride_s` [N, n, 4 * B]."""
    named = {tensor.name: tensor for tensor in export.outputs}
    tensors = [named[name] for name in NanoDet.usual if name in named]
    if len(tensors) != len(NanoDet.usual) or any(len(tensor.shape) != 3 for tensor in tensors):
        return None
    for stride, scores, sides in zip(_STRIDES, tensors[:3], tensors[3:], strict=True):
        cells = {export.cells([stride]), scores.shape[1], sides.shape[1]} - {None}
        if len({side for side in cells if isinstance(side, int)}) > 1:
            return None
    count = tensors[0].shape[2]
    why = f"outputs cls_pred_stride_* and dis_pred_stride_*, as {text_of(tensors[0])}"
    return Match("nanodet", _found("nanodet", why, tensors), count if isinstance(count, int) else None)


def _fastestdet(export: Export) -> Match | None:
    """One map [N, 5 + C, H / 16, W / 16] of activated channels."""
    tensor = _only(export, 4)
    count = None if tensor is None else _columns(tensor.shape[1], 5)
    if tensor is None or count is None:
        return None
    grid = tuple(side // 16 for side in reversed(export.size)) if export.size else tensor.shape[2:]
    joined = export.operator(tensor) == "Concat" and set(_ACTIVATIONS) <= export.operators_into(tensor)
    if tensor.shape[2:] != grid or not (joined or export.chosen):
        return None
    why = f"output {text_of(tensor)}: 5 + one channel per label, joined of Sigmoid, Conv and Softmax"
    return Match("fastestdet", (*_found("fastestdet", why, [tensor]), *_exponents()), count)


def _exponents() -> Iterator[InferredValue]:
    why = "graphs of v1 and v2 look alike: 1 and 1 in v1, 0.6 and 0.4 in v2; here v2"
    for name, value in (("objectness_exponent", 0.6), ("class_exponent", 0.4)):
        yield InferredValue(f"output.parameters.{name}", value, "assumption", why)


def _yolox(export: Export) -> Match | None:
    """[N, cells of strides 8, 16 and 32, 5 + C], from none of the known exporters of other models."""
    tensor = _only(export, 3)
    count = None if tensor is None else _columns(tensor.shape[2], 5)
    if tensor is None or count is None or (export.metadata.exporter and not export.chosen):
        return None
    rows, cells = tensor.shape[1], export.cells(_STRIDES)
    if rows != cells and cells is not None and (isinstance(rows, int) or not export.chosen):
        return None
    source, decoded, why = _yolox_boxes(export, tensor)
    if source == "assumption" and not export.chosen:
        return None
    fits = f"output {text_of(tensor)}: one row per cell of strides 8, 16 and 32, 5 + one column per label"
    parameter = InferredValue("output.parameters.decoded", decoded, source, why)
    return Match("yolox", (*_found("yolox", fits, [tensor], source=source), parameter), count)


def _yolox_boxes(export: Export, tensor: GraphTensor) -> tuple[Source, bool, str]:
    """Whether the graph decodes its boxes: only then it has an exponential; else it ends by joining grids."""
    last = export.graph.makers.get(tensor.name)
    if export.graph.has("Exp"):
        return "graph", True, "the graph has the operator Exp, which decodes the sides"
    # Of heads like YOLOv8's, with rows turned, the joined parts are boxes and scores.
    if last is not None and last.type == "Transpose" and export.operators_into(tensor) == {"Concat"}:
        return "graph", False, "the graph ends by joining three grids, and has no Exp"
    return "assumption", False, "the graph ends as no export of YOLOX does"


def _classifier(export: Export) -> Match | None:
    """A vector with evidence that it holds scores."""
    if not _only_vectors(export):
        return None
    proofs = [
        (tensor, proof) for tensor in export.outputs if is_vector(tensor) for proof in _scores(export, tensor)
    ]
    if not proofs:
        return None
    tensor, (source, why) = proofs[0]
    others = [other.name for other, _ in proofs if other is not tensor]
    findings = _found("classifier", f"output {text_of(tensor)}: {why}", [tensor], others, source)
    return Match("classifier", (*findings, _softmax(export, tensor)), _length(tensor))


def _scores(export: Export, tensor: GraphTensor) -> Iterator[tuple[Source, str]]:
    """Why a vector holds the scores of a classifier, if it does."""
    words, labels = _words(tensor.name), export.metadata.value("labels")
    if export.operator(tensor) in (*_ACTIVATIONS, "LogSoftmax"):
        yield "graph", f"made by {export.operator(tensor)}"
    elif words & _VECTOR_WORDS:
        return
    elif words & _CLASS_WORDS:
        yield "graph", "its name"
    elif labels and len(labels) == _length(tensor):
        yield "metadata", f"as many values as labels ({len(labels)})"
    elif _length(tensor) == _IMAGENET:
        yield "assumption", "1000 values, as heads of the 1000 classes of ImageNet have"
    elif export.chosen:
        yield "given", "a vector"


def _softmax(export: Export, tensor: GraphTensor) -> InferredValue:
    operator, field = export.operator(tensor), "output.parameters.softmax"
    if operator in _ACTIVATIONS:
        return InferredValue(field, False, "graph", f"{tensor.name} is made by {operator}")
    if operator in (*_LINEAR, "LogSoftmax"):
        return InferredValue(field, True, "graph", f"{tensor.name} is made by {operator}: logits")
    if _words(tensor.name) & _PROBABILITY_WORDS:
        return InferredValue(field, False, "assumption", f"the name {tensor.name}")
    return InferredValue(field, True, "assumption", f"{tensor.name} is made by {operator or 'no operator'}")


def _embedder(export: Export) -> Match | None:
    """A vector named as one, else the hidden states, of which the first is the class token."""
    if not _only_vectors(export):
        return None
    vectors = [tensor for tensor in export.outputs if is_vector(tensor)]
    named = [tensor for tensor in vectors if _words(tensor.name) & _VECTOR_WORDS]
    states = [tensor for tensor in export.outputs if tensor.name == _HIDDEN_STATES]
    fitting = named or states or (vectors if export.chosen else [])
    if not fitting:
        return None
    best = min(fitting, key=lambda tensor: "pooler" in _words(tensor.name))
    others = [tensor.name for tensor in fitting if tensor is not best]
    findings = _found("embedder", f"output {text_of(best)}: its name", [best], others)
    return Match("embedder", (*findings, *_vector(best)))


def _vector(tensor: GraphTensor) -> Iterator[InferredValue]:
    if not is_vector(tensor):
        yield InferredValue(
            "output.parameters.pooling", "first", "assumption", "the first row as class token"
        )
        return
    length = _length(tensor)
    if length is not None:
        yield InferredValue("output.parameters.dimension", length, "graph", f"output {text_of(tensor)}")


def _grounding_dino(export: Export) -> Match | None:
    """`logits` [N, Q, 256], one column per token, `pred_boxes` [N, Q, 4], and the tokens as inputs."""
    named = {tensor.name: tensor for tensor in export.outputs}
    tensors = [named[name] for name in GroundingDino.usual if name in named]
    fed = {tensor.name for tensor in export.graph.inputs} & set(GroundingDino.fed)
    if len(tensors) != 2 or not {"input_ids", "pixel_mask"} <= fed:
        return None
    why = f"inputs input_ids and pixel_mask, and outputs {' and '.join(map(text_of, tensors))}"
    return Match("grounding-dino", _found("grounding-dino", why, tensors))


def _rtdetr(export: Export) -> Match | None:
    """The authors' three outputs with their input, or Hugging Face's two with labels from its config."""
    named = {tensor.name: tensor for tensor in export.outputs}
    fed = {tensor.name for tensor in export.graph.inputs} & set(RtDetr.fed)
    if fed and {"labels", "boxes", "scores"} <= named.keys():
        tensors = [named[name] for name in ("labels", "boxes", "scores")]
        why = "input orig_target_sizes, and outputs labels, boxes and scores"
        return Match("rtdetr", _found("rtdetr", why, tensors))
    pair = [named[name] for name in ("logits", "pred_boxes") if name in named]
    if fed or len(pair) != 2 or any(len(tensor.shape) != 3 for tensor in pair):
        return None
    count = _columns(pair[0].shape[2], 0)
    labels = export.metadata.value("labels")
    # DETR has the same outputs, and a column more for "no object".
    if not (export.chosen or (labels and len(labels) == count)):
        return None
    why = f"outputs {' and '.join(map(text_of, pair))}, with one column per label; others end so, too"
    return Match("rtdetr", _found("rtdetr", why, pair, source="assumption"), count)


def _yolov8(export: Export) -> Match | None:
    """An export of Ultralytics for the task detect: [4 + C, A], or [K, 6] end to end."""
    tensor = _only(export, 3)
    if tensor is None or not (_is_ultralytics(export, "detect") or export.chosen):
        return None
    rows, columns, cells = tensor.shape[1], tensor.shape[2], export.cells(_STRIDES)
    labels = export.metadata.value("labels")
    if columns == 6 and rows != cells:
        count = len(labels) if labels else None
        return Match("yolov8", _found("yolov8", f"output {text_of(tensor)}: end to end", [tensor]), count)
    raw, turned = _columns(rows, 4), _columns(columns, 4)
    count = raw if columns == cells else turned if rows == cells else None
    if count is None or (labels and len(labels) != count):
        return None
    why = f"output {text_of(tensor)}: 4 + one row per label, one column per cell of strides 8, 16 and 32"
    return Match("yolov8", _found("yolov8", why, [tensor]), count)


def _yolov5(export: Export) -> Match | None:
    """[3 anchors of each cell, 5 + C], with the names and the stride that its export writes."""
    tensor, cells = _only(export, 3), export.cells(_STRIDES)
    count = None if tensor is None else _columns(tensor.shape[2], 5)
    if tensor is None or count is None or cells is None or tensor.shape[1] != 3 * cells:
        return None
    why = f"output {text_of(tensor)}: three rows for each cell, 5 + one column per label"
    return Match("yolov5", _found("yolov5", why, [tensor]), count)


def _is_ultralytics(export: Export, task: str) -> bool:
    return "ultralytics" in (export.metadata.exporter or "").lower() and export.metadata.task == task


def _clip(export: Export) -> Match | None:
    """Both towers of CLIP in one graph: texts as inputs, `logits_per_image` as output."""
    logits = [tensor for tensor in export.outputs if tensor.name == "logits_per_image"]
    if not logits or "input_ids" not in {tensor.name for tensor in export.graph.inputs}:
        return None
    why = f"input input_ids, and output {text_of(logits[0])}"
    return Match("clip", _found("clip", why, logits))


def _sam(export: Export) -> Match | None:
    """Only where it is chosen: the second graph of a version is not in the first."""
    embeddings = [tensor for tensor in export.outputs if tensor.name.startswith("image_")]
    if not embeddings or not export.chosen:
        return None
    return Match("sam", _found("sam", f"output {text_of(embeddings[0])}", export.outputs))


def _segmenter(export: Export) -> Match | None:
    """One map [N, C, h, w] of logits, with as many channels as the metadata have labels."""
    tensor = _only(export, 4)
    count = None if tensor is None else _columns(tensor.shape[1], 0)
    if tensor is None or count is None:
        return None
    labels = export.metadata.value("labels")
    if not ((labels and len(labels) == count and _words(tensor.name) & {"logits", "out"}) or export.chosen):
        return None
    why = f"output {text_of(tensor)}: one map per label"
    return Match("segmenter", _found("segmenter", why, [tensor], source="metadata"), count)


#: Family → its rule; the order is that of the evidence, the strongest first.
RULES: Mapping[str, Rule] = {
    "exposure": _exposure,
    "shapes": _shapes,
    "nanodet": _nanodet,
    "ultraface": _ultraface,
    "fastestdet": _fastestdet,
    "grounding-dino": _grounding_dino,
    "rtdetr": _rtdetr,
    "clip": _clip,
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "yolox": _yolox,
    "segmenter": _segmenter,
    "sam": _sam,
    "classifier": _classifier,
    "embedder": _embedder,
}


def _found(
    family: str,
    why: str,
    outputs: Sequence[GraphTensor],
    others: Sequence[str] = (),
    source: Source = "graph",
) -> tuple[InferredValue, ...]:
    """The family, and the outputs that it reads; with `others`, which would do too, they are a choice."""
    names = [tensor.name for tensor in outputs]
    chosen = "the outputs of the family"
    reads = InferredValue("output.names", names, "graph", chosen)
    if others:
        reads = InferredValue("output.names", names, "assumption", f"would do too: {', '.join(others)}")
    return InferredValue("family", family, source, why), reads


def _only(export: Export, rank: int) -> GraphTensor | None:
    """The only output of the graph, if it has this number of axes."""
    first, *others = export.outputs
    return first if not others and len(first.shape) == rank else None


def _only_vectors(export: Export) -> bool:
    """Whether all outputs are vectors or hidden states: a graph with boxes or masks is something else."""
    return all(is_vector(tensor) or tensor.name == _HIDDEN_STATES for tensor in export.outputs)


def _length(tensor: GraphTensor) -> int | None:
    """D of a vector [N, D]; None for an open one."""
    side = next((side for side in tensor.shape[1:] if side != 1), 1)
    return side if isinstance(side, int) else None


def _columns(side: Side, before: int) -> int | None:
    """The number of labels in an axis with `before` other values; None if there is none."""
    return side - before if isinstance(side, int) and side > before else None


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))
