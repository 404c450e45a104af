"""Which model family a graph fits, by its outputs and the operators that make them. Pure.

There is one rule per family. A rule needs evidence, not only a shape that would do; where the caller chose
the family, the shape suffices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models_import import detector_rules, picture_rules, prompt_rules
from models_import.export_metadata import InferredValue
from models_import.family_evidence import Export, Match, Rule
from runners.families.index import FAMILIES

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
