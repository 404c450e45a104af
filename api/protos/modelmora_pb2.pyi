from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbeddingRequest(_message.Message):
    __slots__ = ("request_id", "image_data", "model_name", "options")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DATA_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image_data: bytes
    model_name: str
    options: _containers.ScalarMap[str, str]
    def __init__(self, request_id: _Optional[str] = ..., image_data: _Optional[bytes] = ..., model_name: _Optional[str] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class EmbeddingResponse(_message.Message):
    __slots__ = ("request_id", "vector", "model_name", "dimension", "inference_time_ms", "model_version", "model_digest", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    vector: _containers.RepeatedScalarFieldContainer[float]
    model_name: str
    dimension: int
    inference_time_ms: int
    model_version: str
    model_digest: str
    error: str
    def __init__(self, request_id: _Optional[str] = ..., vector: _Optional[_Iterable[float]] = ..., model_name: _Optional[str] = ..., dimension: _Optional[int] = ..., inference_time_ms: _Optional[int] = ..., model_version: _Optional[str] = ..., model_digest: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[EmbeddingRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[EmbeddingRequest, _Mapping]]] = ...) -> None: ...

class InferenceStatus(_message.Message):
    __slots__ = ("request_id", "state", "progress", "result", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        QUEUED: _ClassVar[InferenceStatus.State]
        LOADING: _ClassVar[InferenceStatus.State]
        RUNNING: _ClassVar[InferenceStatus.State]
        DONE: _ClassVar[InferenceStatus.State]
        FAILED: _ClassVar[InferenceStatus.State]
    QUEUED: InferenceStatus.State
    LOADING: InferenceStatus.State
    RUNNING: InferenceStatus.State
    DONE: InferenceStatus.State
    FAILED: InferenceStatus.State
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    state: InferenceStatus.State
    progress: float
    result: EmbeddingResponse
    error: str
    def __init__(self, request_id: _Optional[str] = ..., state: _Optional[_Union[InferenceStatus.State, str]] = ..., progress: _Optional[float] = ..., result: _Optional[_Union[EmbeddingResponse, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...
