"""Rules of families that a request asks something of: a text, or a place. Pure."""

from __future__ import annotations

from models_import.export_metadata import InferredValue
from models_import.family_evidence import Export, Match, found
from models_import.onnx_graph import OnnxGraph, text_of
from runners.families.grounding_dino import GroundingDino
from runners.families.owlv2 import OwlV2

_EMBEDDINGS = "image_embeddings"


def grounding_dino(export: Export) -> Match | None:
    """`logits` [N, Q, 256], one column per token, boxes [N, Q, 4], and tokens and a mask as inputs."""
    named = {tensor.name: tensor for tensor in export.outputs}
    tensors = [named[name] for name in ("logits", "pred_boxes", "boxes") if name in named]
    fed = {tensor.name for tensor in export.graph.inputs} & set(GroundingDino.fed)
    form = next((each for each in ("pixel_mask", "text_token_mask") if {"input_ids", each} <= fed), None)
    if len(tensors) != 2 or form is None:
        return None
    why = f"inputs input_ids and {form}, and outputs {' and '.join(map(text_of, tensors))}"
    return Match("grounding-dino", found("grounding-dino", why, tensors))


def owlv2(export: Export) -> Match | None:
    """`logits` [N, Q, T], one column per text, `pred_boxes` [N, Q, 4], the texts as inputs, and no mask."""
    named = {tensor.name: tensor for tensor in export.outputs}
    tensors = [named[name] for name in OwlV2.usual if name in named]
    inputs = {tensor.name for tensor in export.graph.inputs}
    if len(tensors) != 2 or not {"input_ids", "attention_mask"} <= inputs:
        return None
    if not ({"text_embeds", "image_embeds"} & named.keys() or export.chosen):
        return None
    why = f"inputs input_ids and attention_mask, and outputs {' and '.join(map(text_of, tensors))}"
    return Match("owlv2", found("owlv2", why, tensors))


def clip(export: Export) -> Match | None:
    """Both towers of CLIP in one graph: texts as inputs, `logits_per_image` as output."""
    logits = [tensor for tensor in export.outputs if tensor.name == "logits_per_image"]
    if not logits or "input_ids" not in {tensor.name for tensor in export.graph.inputs}:
        return None
    why = f"input input_ids, and output {text_of(logits[0])}"
    return Match("clip", found("clip", why, logits))


def sam(export: Export) -> Match | None:
    """An encoder that gives `image_embeddings`, with the decoder that takes them beside it."""
    embeddings = [tensor for tensor in export.outputs if tensor.name == _EMBEDDINGS]
    decoders = [name for name, graph in export.beside.items() if _decodes(graph)]
    if not embeddings or not (len(decoders) == 1 or export.chosen):
        return None
    findings = found("sam", f"output {text_of(embeddings[0])}, and the decoder beside it", export.outputs)
    if len(decoders) == 1:
        files = {"encoder": {"file": export.file}, "decoder": {"file": decoders[0]}}
        why = f"{decoders[0]} takes {_EMBEDDINGS} and points"
        findings = (*findings, InferredValue("graphs", files, "graph", why))
    return Match("sam", findings, size=(1024, 1024))


def _decodes(graph: OnnxGraph) -> bool:
    inputs = {tensor.name for tensor in graph.inputs}
    return _EMBEDDINGS in inputs and bool({"point_coords", "input_points"} & inputs)
