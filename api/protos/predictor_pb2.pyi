import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("request_id", "image", "model", "version", "threshold", "max_detections", "text_prompt", "text_threshold", "nms_threshold", "points", "boxes", "top_k", "mask_format", "box_threshold")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    TEXT_PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NMS_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MASK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    BOX_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image: bytes
    model: str
    version: str
    threshold: float
    max_detections: int
    text_prompt: str
    text_threshold: float
    nms_threshold: float
    points: _containers.RepeatedCompositeFieldContainer[Point]
    boxes: _containers.RepeatedCompositeFieldContainer[Box]
    top_k: int
    mask_format: str
    box_threshold: float
    def __init__(self, request_id: _Optional[str] = ..., image: _Optional[bytes] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., threshold: _Optional[float] = ..., max_detections: _Optional[int] = ..., text_prompt: _Optional[str] = ..., text_threshold: _Optional[float] = ..., nms_threshold: _Optional[float] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., boxes: _Optional[_Iterable[_Union[Box, _Mapping]]] = ..., top_k: _Optional[int] = ..., mask_format: _Optional[str] = ..., box_threshold: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y", "label")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    label: int
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., label: _Optional[int] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x1", "y1", "x2", "y2")
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    X2_FIELD_NUMBER: _ClassVar[int]
    Y2_FIELD_NUMBER: _ClassVar[int]
    x1: float
    y1: float
    x2: float
    y2: float
    def __init__(self, x1: _Optional[float] = ..., y1: _Optional[float] = ..., x2: _Optional[float] = ..., y2: _Optional[float] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("request_id", "model", "model_version", "model_digest", "generation", "task", "detections", "scores", "image", "timings_ms", "embedding", "tensors", "detector")
    class TensorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TensorValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TensorValue, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_version: str
    model_digest: str
    generation: int
    task: str
    detections: _containers.RepeatedCompositeFieldContainer[Detection]
    scores: _containers.RepeatedScalarFieldContainer[float]
    image: ImageSize
    timings_ms: TimingsMs
    embedding: _containers.RepeatedScalarFieldContainer[float]
    tensors: _containers.MessageMap[str, TensorValue]
    detector: Detector
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., generation: _Optional[int] = ..., task: _Optional[str] = ..., detections: _Optional[_Iterable[_Union[Detection, _Mapping]]] = ..., scores: _Optional[_Iterable[float]] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., embedding: _Optional[_Iterable[float]] = ..., tensors: _Optional[_Mapping[str, TensorValue]] = ..., detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...

class Detector(_message.Message):
    __slots__ = ("model", "model_version", "model_digest", "generation")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    model_digest: str
    generation: int
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class TensorValue(_message.Message):
    __slots__ = ("shape", "data")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., data: _Optional[_Iterable[float]] = ...) -> None: ...

class Detection(_message.Message):
    __slots__ = ("label", "label_id", "score", "bbox", "phrase", "mask")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BBOX_FIELD_NUMBER: _ClassVar[int]
    PHRASE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    label: str
    label_id: int
    score: float
    bbox: _containers.RepeatedScalarFieldContainer[float]
    phrase: str
    mask: Mask
    def __init__(self, label: _Optional[str] = ..., label_id: _Optional[int] = ..., score: _Optional[float] = ..., bbox: _Optional[_Iterable[float]] = ..., phrase: _Optional[str] = ..., mask: _Optional[_Union[Mask, _Mapping]] = ...) -> None: ...

class Mask(_message.Message):
    __slots__ = ("height", "width", "counts", "png")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    counts: str
    png: bytes
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., counts: _Optional[str] = ..., png: _Optional[bytes] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class TimingsMs(_message.Message):
    __slots__ = ("queue", "decode", "preprocess", "inference", "postprocess", "total")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    queue: float
    decode: float
    preprocess: float
    inference: float
    postprocess: float
    total: float
    def __init__(self, queue: _Optional[float] = ..., decode: _Optional[float] = ..., preprocess: _Optional[float] = ..., inference: _Optional[float] = ..., postprocess: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class StreamReply(_message.Message):
    __slots__ = ("request_id", "answer", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    answer: PredictResponse
    error: Error
    def __init__(self, request_id: _Optional[str] = ..., answer: _Optional[_Union[PredictResponse, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("default", "models")
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    default: str
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, default: _Optional[str] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "target", "serving", "generation", "revision", "reason", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: str
    serving: str
    generation: int
    revision: int
    reason: str
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, name: _Optional[str] = ..., target: _Optional[str] = ..., serving: _Optional[str] = ..., generation: _Optional[int] = ..., revision: _Optional[int] = ..., reason: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("version", "digest", "state", "reason", "size_bytes", "created", "device", "device_reason")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_REASON_FIELD_NUMBER: _ClassVar[int]
    version: str
    digest: str
    state: str
    reason: str
    size_bytes: int
    created: _timestamp_pb2.Timestamp
    device: str
    device_reason: str
    def __init__(self, version: _Optional[str] = ..., digest: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., size_bytes: _Optional[int] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., device: _Optional[str] = ..., device_reason: _Optional[str] = ...) -> None: ...
