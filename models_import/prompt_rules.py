"""Rules of families that a request asks something of: a text, or a place. Pure."""

from __future__ import annotations

from models_import.family_evidence import Export, Match, found
from models_import.onnx_graph import text_of
from runners.families.grounding_dino import GroundingDino
from runners.families.owlv2 import OwlV2


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
    """Only where it is chosen: the second graph of a version is not in the first."""
    embeddings = [tensor for tensor in export.outputs if tensor.name.startswith("image_")]
    if not embeddings or not export.chosen:
        return None
    return Match("sam", found("sam", f"output {text_of(embeddings[0])}", export.outputs))
