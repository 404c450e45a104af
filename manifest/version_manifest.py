"""The config and the manifest of an artifact: what it says of itself.

The declared half (`ModelConfig`) is the user's `config.json`. The found half (`Manifest`) is made at
import: the sha256 and size of every file, what loading costs, and the digest over all files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from common.text import explain
from manifest.config_part import MOST_LABELS, ConfigPart, Label, Unit
from manifest.crop_config import CLASSIFIES, CropConfig

CONFIG_FILE = "config.json"
MANIFEST_KEY = "okawari"

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
FieldName = Annotated[str, Field(max_length=100)]
DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$", max_length=16)]
Reason = Annotated[str, Field(max_length=500)]


def _inside(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path inside the version's folder")
    return file


VersionPath = Annotated[str, AfterValidator(_inside)]


class LabelFile(list[str]):
    """The labels of a file of the version that is not read yet: none, and the file's path."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file


def _label_file(value: object, read: ValidatorFunctionWrapHandler) -> list[str]:
    labels: list[str] = LabelFile(_inside(value)) if isinstance(value, str) else read(value)
    return labels


Labels = Annotated[
    list[Label],
    Field(
        max_length=MOST_LABELS,
        description="the labels by their numbers, or a file beside the graph: one a line, or JSON (id2label)",
    ),
    WrapValidator(_label_file),
]
ResizeMode = Literal[
    "stretch",
    "letterbox",
    "letterbox_centre",
    "longest_edge",
    "longest_edge_centre",
    "centre_crop",
    "shortest_edge",
    "keep_aspect",
    "square",
]
Task = Literal[
    "object-detection",
    "open-vocabulary-detection",
    "image-classification",
    "zero-shot-classification",
    "image-embedding",
    "semantic-segmentation",
    "instance-segmentation",
    "prompted-segmentation",
    "tensors",
    "custom",
]


class BadManifest(ValueError):
    """A config or manifest that cannot be used; the message names field, value and what is allowed."""


class ResizeConfig(ConfigPart):
    """How a picture of any size becomes the input's size."""

    mode: ResizeMode = Field(
        default="stretch",
        description="stretch ignores the aspect; letterbox keeps it and fills right and below, "
        "letterbox_centre on all sides; longest_edge and longest_edge_centre are the same with sides rounded "
        "to the nearest pixel; "
        "centre_crop cuts the longer side; shortest_edge makes the shorter side `edge` and cuts the centre; "
        "keep_aspect makes it `edge`, or less so that the longer one fits, and the input as large as that; "
        "square fills right and below to a square before the resize",
    )
    edge: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="pixels of the shorter side, for shortest_edge and keep_aspect",
    )
    kernel: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "gaussian_linear"] = Field(
        default="bilinear",
        description="those of Pillow, on bytes; gaussian_linear smooths and samples in floats, for square",
    )

    @model_validator(mode="after")
    def _has_an_edge(self) -> Self:
        if (self.edge is not None) != (self.mode in ("shortest_edge", "keep_aspect")):
            raise ValueError("edge belongs to the modes shortest_edge and keep_aspect, which need it")
        if (self.mode == "square") != (self.kernel == "gaussian_linear"):
            raise ValueError("mode square and kernel gaussian_linear belong together")
        return self


class InputConfig(ConfigPart):
    """The tensor that the graph takes, and how it is made: `(pixel * scale - mean) / std`."""

    name: str | None = Field(default=None, description="graph input for pictures; left out: the only one")
    width: int = Field(ge=1, le=8192, description="pixels; with keep_aspect the most")
    height: int = Field(ge=1, le=8192, description="pixels; with keep_aspect the most")
    layout: Literal["NCHW", "NHWC", "HWC"] = Field(
        default="NCHW",
        description="HWC: one picture, resized but not filled, by a graph that does the rest",
    )
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    colour_order: Literal["RGB", "BGR"] = "RGB"
    resize: ResizeConfig = ResizeConfig()
    pad: Annotated[int, Field(ge=0, le=255)] | Annotated[float, Field(ge=0, le=255)] | Literal["zero"] = (
        Field(default=114, description="grey of the fill, before scaling; zero: 0 in the tensor")
    )
    scale: float = Field(default=1.0, gt=0, description="factor on 0..255")
    mean: Channels | None = Field(default=None, description="in the model's colour order")
    std: Channels | None = Field(default=None, description="in the model's colour order")

    @model_validator(mode="after")
    def _resize_fits(self) -> Self:
        edge = self.resize.edge
        if self.resize.mode == "shortest_edge" and edge is not None and edge < max(self.width, self.height):
            raise ValueError(f"resize.edge {edge} is less than the {self.width}x{self.height} to cut from it")
        if self.resize.mode == "square" and (self.dtype == "uint8" or self.pad == "zero"):
            raise ValueError("resize.mode square needs a dtype of floats, and a grey as pad")
        return self

    @field_validator("std")
    @classmethod
    def _no_zero(cls, std: list[float] | None) -> list[float] | None:
        if std is not None and any(value <= 0 for value in std):
            raise ValueError("every value must be greater than 0")
        return std


class OutputConfig(ConfigPart):
    """Which outputs the family reads, and its decoding parameters."""

    names: list[str] | None = Field(default=None, description="graph outputs; left out: all")
    parameters: dict[str, Any] = Field(default={}, description="the family's own; see its schema")


class Thresholds(ConfigPart):
    """What counts as found when the request does not say."""

    score: Unit = 0.5
    nms_iou: Unit = 0.45


class Resources(ConfigPart):
    """What the version asks of the machine."""

    threads: int = Field(default=1, ge=1, le=64, description="onnxruntime threads in one call")


class BatchingConfig(ConfigPart):
    """Requests that wait at the same time share a run of the graph."""

    max_size: int = Field(ge=1, le=32, description="most pictures in one run; 1: none share")
    max_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="how long a request waits for others; 0: only those that wait already",
    )


class WarmUp(ConfigPart):
    """What runs before a version may answer."""

    runs: int = Field(default=2, ge=0, le=100)


class ExpectedObject(ConfigPart):
    """What is to be found in a golden picture: `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture."""

    label: Label
    bbox: tuple[Unit, Unit, Unit, Unit] | None = Field(
        default=None, description="left out: the whole picture"
    )
    score: Unit = Field(default=0.0, description="the score that a trusted version gave it")


class GoldenPicture(ConfigPart):
    """A picture in the artifact that the version is checked on before it may answer."""

    file: VersionPath
    expected: list[ExpectedObject] | None = Field(
        default=None,
        max_length=1000,
        description="what the version has to find in it; left out: anything, as long as it answers",
    )


class GateConfig(ConfigPart):
    """What the version has to prove before it may answer; see the guide to the gate."""

    policy: Literal["enforce", "warn", "off"] | None = Field(
        default=None, description="left out: enforce where golden pictures say what is expected, else warn"
    )
    found: Unit = Field(default=0.8, description="share of the expected findings that must be found")
    min_iou: Unit = Field(default=0.5, description="least overlap of a found box with the expected one")
    score_tolerance: Unit = Field(default=0.3, description="how much lower than expected a score may be")
    agreement: Unit | None = Field(
        default=None,
        description="share of the objects in pictures at hand on which it must agree with the version before "
        "it; left out: a half, where no golden picture says what is expected",
    )
    slowdown: float = Field(
        default=3.0, ge=1, le=1000, description="how many times the time of the version before it may take"
    )


class GuardConfig(ConfigPart):
    """How the version is watched once it answers, and when it is taken back; see the guide to the guard."""

    policy: Literal["enforce", "off"] = Field(default="enforce", description="off: it is not watched")
    seconds: float | None = Field(
        default=None, ge=0, le=86_400, description="the window; left out: as the service is set"
    )
    differing: float = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="share of the pictures on which it may answer otherwise than the version before it",
    )
    failing: float = Field(default=0.01, gt=0, lt=1, description="share of the requests that may fail")
    slowdown: float = Field(
        default=3.0, ge=1, le=1000, description="how many times the time of the version before it may take"
    )


class GraphConfig(ConfigPart):
    """One of several graphs of a version."""

    file: VersionPath = Field(description="the ONNX file; its external data may lie beside it")


class ProviderConfig(ConfigPart):
    """An execution provider of onnxruntime; its options go to onnxruntime as they are."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9]{1,60}ExecutionProvider$", description="such as OpenVINOExecutionProvider"
    )
    options: dict[FieldName, Annotated[str, Field(max_length=1000)]] = Field(default={}, max_length=50)


class ModelConfig(ConfigPart):
    """The declared half of the manifest: `config.json`."""

    format: Literal[1] = 1
    task: Task
    family: str = Field(description="how outputs become detections; `okawari families` lists them")
    description: str = ""
    licence: str | None = None
    source: str | None = None
    created: AwareDatetime | None = Field(
        default=None, description="creation time with zone; left out: the time of import"
    )
    picture: InputConfig | None = Field(
        default=None, alias="input", description="left out: the model takes tensors alone, no pictures"
    )
    output: OutputConfig = OutputConfig()
    graphs: dict[FieldName, GraphConfig] = Field(
        default={},
        max_length=8,
        description="the graphs of a family that needs several, by the names that it gives them",
    )
    tokenizer: VersionPath | None = Field(
        default=None, description="the tokenizer of a family with text prompts: a `tokenizer.json`"
    )
    labels: Labels = Field(default=[])
    thresholds: Thresholds = Thresholds()
    resources: Resources = Resources()
    batching: BatchingConfig | None = Field(
        default=None,
        description="left out: each request runs alone. Measure first: many graphs become slower",
    )
    device: DeviceName | None = Field(
        default=None,
        description="auto, cpu, cuda or cuda:n: where it runs; left out: as OKAWARI_DEVICE says",
    )
    providers: list[ProviderConfig] = Field(
        default=[],
        max_length=8,
        description="execution providers to try before the CPU, in this order, in place of `device`",
    )
    warm_up: WarmUp = WarmUp()
    crop_with: CropConfig | None = Field(
        default=None,
        description="classify what a detector finds: the answer has its boxes with this model's labels",
    )
    golden: list[GoldenPicture] = Field(default=[])
    gate: GateConfig = GateConfig()
    guard: GuardConfig = GuardConfig()
    inferred: dict[FieldName, Reason] = Field(
        default={},
        max_length=100,
        description="fields that `okawari config infer` assumed, each with the reason; delete those that "
        "were checked",
    )

    @property
    def labels_file(self) -> str | None:
        """The file that holds the labels, while they are not read."""
        return self.labels.file if isinstance(self.labels, LabelFile) else None

    @property
    def input(self) -> InputConfig:
        """The input for pictures. Raises `BadManifest` for a model without: its family asks `picture`."""
        if self.picture is None:
            raise BadManifest(f"{CONFIG_FILE}: input: missing; say how pictures become the graph's input")
        return self.picture

    @property
    def named_files(self) -> tuple[tuple[str, str], ...]:
        """The files of the version that the config names: field and path."""
        graphs = [(f"graphs.{name}.file", graph.file) for name, graph in self.graphs.items()]
        tokenizer = [("tokenizer", self.tokenizer)] if self.tokenizer else []
        labels = [("labels", self.labels_file)] if self.labels_file else []
        return (*graphs, *tokenizer, *labels, *(("golden", golden.file) for golden in self.golden))

    @property
    def answers_as(self) -> Task:
        """The task of its answers for pictures: what is cropped has boxes, as a detector's."""
        return self.task if self.crop_with is None else "object-detection"

    @model_validator(mode="after")
    def _crops_for_a_classifier(self) -> Self:
        if self.crop_with is not None and self.task not in CLASSIFIES:
            raise ValueError(
                f"crop_with: task {self.task!r} does not classify; allowed with {' and '.join(CLASSIFIES)}"
            )
        return self

    @field_validator("created")
    @classmethod
    def _can_be_told(cls, created: datetime | None) -> datetime | None:
        return None if created is None else as_utc(created)


class FileEntry(ConfigPart):
    """One file of an artifact."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")


class Measured(ConfigPart):
    """What loading cost at import, in a process of its own."""

    load_seconds: float
    peak_bytes: int
    resident_bytes: int
    onnxruntime: str


class Manifest(ConfigPart):
    """The found half, kept in `model.yaml` under metadata.okawari."""

    format: Literal[1] = 1
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    weights: str
    files: dict[str, FileEntry]
    measured: Measured | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


def digest_of(files: Mapping[str, FileEntry]) -> str:
    """The digest of a set of files, config included and tag left out: `sha256:<hex>`.

    It is the sha256 of `{"path": "sha256 of the file", …}` as JSON with sorted keys and no spaces.
    """
    table = {path: entry.sha256 for path, entry in files.items()}
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def parse_config(text: str | bytes) -> ModelConfig:
    """Read a `config.json`; raise `BadManifest` naming field, value found and values allowed."""
    try:
        return ModelConfig.model_validate_json(text if isinstance(text, str) else _decoded(text))
    except ValidationError as error:
        raise BadManifest(explain(CONFIG_FILE, error)) from None


def _decoded(text: bytes) -> str:
    """JSON in UTF-8 or, as some editors and shells write it, in UTF-16 or with a byte order mark."""
    encoding = json.detect_encoding(text)
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        byte, line = error.object[error.start], error.object.count(b"\n", 0, error.start) + 1
        raise BadManifest(
            f"{CONFIG_FILE}: byte {error.start} (0x{byte:02x}, line {line}) is not {encoding.upper()}: "
            "save the file as UTF-8"
        ) from None


def parse_manifest(raw: object) -> Manifest:
    """Read the found half from `model.yaml`'s metadata; raise `BadManifest`."""
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise BadManifest(explain("model.yaml metadata.okawari", error)) from None


def as_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a moment without zone is taken as UTC, as BentoML writes it.

    Raises `BadManifest` for one that lies outside the years 1 to 9999 there.
    """
    from datetime import UTC

    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise BadManifest(f"{moment.isoformat()} is not within the years 1 to 9999 in UTC") from None
