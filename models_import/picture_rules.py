"""Rules of families that say something of a picture as a whole, or of each pixel. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from models_import.export_metadata import InferredValue, Source
from models_import.family_evidence import (
    HIDDEN_STATES,
    Export,
    Match,
    columns_of,
    found,
    is_vector,
    length_of,
    only,
    words,
)
from models_import.onnx_graph import text_of
from runners.families.exposure import LABELS as EXPOSURE_LABELS
from runners.graph_check import GraphTensor

_IMAGENET = 1000
_ACTIVATIONS = ("Softmax", "Sigmoid")
_LINEAR = ("Gemm", "MatMul", "Add", "Conv", "GlobalAveragePool", "ReduceMean")
#: Words in the names of outputs.
_PROBABILITY_WORDS = {"probabilities", "probability", "probs", "prob", "scores", "softmax"}
_CLASS_WORDS = _PROBABILITY_WORDS | {"logits", "logit", "classes", "class", "classifier", "classification"}
_VECTOR_WORDS = {"embedding", "embeddings", "embed", "embeds", "feature", "features", "pooler", "descriptor"}


def exposure(export: Export) -> Match | None:
    graph = export.graph
    ours = (graph.producer, graph.name) == ("okawari", "exposure")
    scores = next((tensor for tensor in graph.outputs if tensor.name == "scores" and is_vector(tensor)), None)
    if scores is None or length_of(scores) != len(EXPOSURE_LABELS) or not (ours or export.chosen):
        return None
    why = "the graph's producer and name"
    return Match("exposure", found("exposure", why, [scores]), len(EXPOSURE_LABELS), EXPOSURE_LABELS)


def classifier(export: Export) -> Match | None:
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
    findings = found("classifier", f"output {text_of(tensor)}: {why}", [tensor], others, source)
    return Match("classifier", (*findings, _softmax(export, tensor)), length_of(tensor))


def _scores(export: Export, tensor: GraphTensor) -> Iterator[tuple[Source, str]]:
    """Why a vector holds the scores of a classifier, if it does."""
    named, labels = words(tensor.name), export.metadata.value("labels")
    if export.operator(tensor) in (*_ACTIVATIONS, "LogSoftmax"):
        yield "graph", f"made by {export.operator(tensor)}"
    elif named & _VECTOR_WORDS:
        return
    elif named & _CLASS_WORDS:
        yield "graph", "its name"
    elif labels and len(labels) == length_of(tensor):
        yield "metadata", f"as many values as labels ({len(labels)})"
    elif length_of(tensor) == _IMAGENET:
        yield "assumption", "1000 values, as heads of the 1000 classes of ImageNet have"
    elif export.chosen:
        yield "given", "a vector"


def _softmax(export: Export, tensor: GraphTensor) -> InferredValue:
    operator, field = export.operator(tensor), "output.parameters.softmax"
    if operator in _ACTIVATIONS:
        return InferredValue(field, False, "graph", f"{tensor.name} is made by {operator}")
    if operator in (*_LINEAR, "LogSoftmax"):
        return InferredValue(field, True, "graph", f"{tensor.name} is made by {operator}: logits")
    if words(tensor.name) & _PROBABILITY_WORDS:
        return InferredValue(field, False, "assumption", f"the name {tensor.name}")
    return InferredValue(field, True, "assumption", f"{tensor.name} is made by {operator or 'no operator'}")


def embedder(export: Export) -> Match | None:
    """A vector named as one, else the hidden states, of which the first is the class token."""
    if not _only_vectors(export):
        return None
    vectors = [tensor for tensor in export.outputs if is_vector(tensor)]
    named = [tensor for tensor in vectors if words(tensor.name) & _VECTOR_WORDS]
    states = [tensor for tensor in export.outputs if tensor.name == HIDDEN_STATES]
    fitting = named or states or (vectors if export.chosen else [])
    if not fitting:
        return None
    best = min(fitting, key=lambda tensor: "pooler" in words(tensor.name))
    others = [tensor.name for tensor in fitting if tensor is not best]
    findings = found("embedder", f"output {text_of(best)}: its name", [best], others)
    return Match("embedder", (*findings, *_vector(best)), like=_encoder(export))


def _encoder(export: Export) -> str:
    """Whose image encoder it is by the names that transformers gives its outputs; empty if of none."""
    names = {tensor.name for tensor in export.outputs}
    if "image_embeds" in names:
        return "clip"
    return "dinov2" if HIDDEN_STATES in names else ""


def _vector(tensor: GraphTensor) -> Iterator[InferredValue]:
    if not is_vector(tensor):
        yield InferredValue(
            "output.parameters.pooling", "first", "assumption", "the first row as class token"
        )
        return
    length = length_of(tensor)
    if length is not None:
        yield InferredValue("output.parameters.dimension", length, "graph", f"output {text_of(tensor)}")


def segmenter(export: Export) -> Match | None:
    """One map [N, C, h, w] of logits, as many as the metadata have labels; else by its name."""
    tensor = only(export, 4)
    if tensor is None:
        return None
    labels = export.metadata.value("labels")
    if labels and _is_map(export, tensor, len(labels)):
        why = f"output {text_of(tensor)}: for each pixel of the input one value per label"
        findings = found("segmenter", why, [tensor], source="metadata")
        return Match("segmenter", findings, len(labels), like="deeplab")
    count = columns_of(tensor.shape[1], 0)
    if count is None:
        return None
    counted = labels is not None and len(labels) == count
    if not (words(tensor.name) & ({"logits", "out"} if counted else {"logits"}) or export.chosen):
        return None
    why = f"output {text_of(tensor)}: one map per label"
    source: Source = "metadata" if counted else "assumption"
    return Match("segmenter", found("segmenter", why, [tensor], source=source), count)


def _is_map(export: Export, tensor: GraphTensor, labels: int) -> bool:
    """Whether a tensor [N, h, w, C] has the input's size, and as many channels as there are labels."""
    return export.size is not None and tensor.shape[1:] == (*export.size[::-1], labels)


def _only_vectors(export: Export) -> bool:
    """Whether all outputs are vectors or hidden states: a graph with boxes or masks is something else."""
    return all(is_vector(tensor) or tensor.name == HIDDEN_STATES for tensor in export.outputs)
