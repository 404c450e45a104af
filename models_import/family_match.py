"""Which model family a graph fits, by its outputs and the operators that make them. Pure.

There is one rule per family. A rule needs evidence, not only a shape that would do; where the caller chose
the family, the shape suffices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models_import import detector_rules, picture_rules, prompt_rules
from models_import.export_metadata import InferredValue
from models_import.family_evidence import Export, Match, Rule, is_vector
from models_import.onnx_graph import text_of
from runners.families.index import FAMILIES

#: Most outputs that a message lists.
_MOST_LISTED = 8
#: Family → its rule; the order is that of the evidence, the strongest first.
RULES: Mapping[str, Rule] = {
    "exposure": picture_rules.exposure,
    "shapes": detector_rules.shapes,
    "nanodet": detector_rules.nanodet,
    "ultraface": detector_rules.ultraface,
    "fastestdet": detector_rules.fastestdet,
    "grounding-dino": prompt_rules.grounding_dino,
    "owlv2": prompt_rules.owlv2,
    "detr": detector_rules.detr,
    "rtdetr": detector_rules.rtdetr,
    "clip": prompt_rules.clip,
    "yolov8": detector_rules.yolov8,
    "yolov8-seg": detector_rules.yolov8_seg,
    "yolov5": detector_rules.yolov5,
    "yolox": detector_rules.yolox,
    "segmenter": picture_rules.segmenter,
    "sam": prompt_rules.sam,
    "classifier": picture_rules.classifier,
    "embedder": picture_rules.embedder,
}


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


def misfit(export: Export, family: str | None) -> str:
    """Why no family fits, or not the one that the caller chose: what was found, and what to do."""
    outputs = [f"{text_of(output)} {output.type}" for output in export.outputs]
    found = ", ".join(outputs[:_MOST_LISTED]) + (", …" if len(outputs) > _MOST_LISTED else "")
    return f"{_misfit(export, family)}; the graph has the outputs {found}{_origin(export)}"


def _misfit(export: Export, family: str | None) -> str:
    if family:
        return f"the graph does not fit the family {family}"
    if len(export.graph.inputs) == 1 and all(map(is_vector, export.outputs)):
        return "scores or embedding? Nothing tells: add --family classifier or --family embedder"
    if "image_embeddings" in {tensor.name for tensor in export.outputs}:
        return "an encoder of SAM? Put its decoder into the same folder, or add --family sam"
    return f"the graph fits none of the families ({', '.join(FAMILIES)})"


def _origin(export: Export) -> str:
    """Who exported the graph, and for which task, as far as its metadata say."""
    exporter, task = export.metadata.exporter, export.metadata.task
    if not exporter:
        return ""
    return f" and is an export of {exporter}" + (f" for the task {task!r}" if task else "")
