"""The configuration file of the detection server: `config.yaml`, sections and keys, and how it is read.

Every key has a default, so that a service without the file serves its routes with SQLite and a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from common.cron import checked_schedule
from common.document_findings import Place, finding, path_text
from common.references import BadReference, has_reference, resolve

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Port = Annotated[int, Field(ge=0, le=65535)]
_Gigabytes = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: What a device may be called, as in `lineage.paths`.
_DeviceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
#: What a header can carry.
_Token = Annotated[str, Field(pattern=r"^[!-~]{1,1000}$")]

#: Suffix → what a file with it is; none of these can be served.
_CHECKPOINTS = {
    ".pth": "a PyTorch checkpoint",
    ".pt": "a PyTorch checkpoint",
    ".ckpt": "a training checkpoint",
    ".safetensors": "weights without a graph",
}


def _servable(path: str) -> str:
    """A path that may be imported. Raises `ValueError` for formats that need an export first."""
    kind = _CHECKPOINTS.get(Path(path).suffix.lower())
    if kind is not None:
        raise ValueError(
            f"{kind} cannot be served: export the model to ONNX (torch.onnx.export, or the model's own "
            "export script), write a config.json (`okawari config infer`), and name the .onnx or its folder"
        )
    return path


def _with_values(items: Any) -> Any:
    """A mapping without the keys that have no value."""
    return {k: v for k, v in items.items() if v is not None} if isinstance(items, dict) else items


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_empty_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


class ServerSection(_Section):
    """Where the service listens, and in how many processes."""

    host: str = "127.0.0.1"
    port: _Port = 3000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    reload: bool = False

    @model_validator(mode="after")
    def _without_reload(self) -> Self:
        if self.reload:
            raise ValueError(
                "reload: true restarts the service when its code changes, and is no part of this file: start "
                "`bentoml serve` with --reload; models are exchanged without it"
            )
        return self


class ModelSection(_Section):
    """The model that answers `/api/v1/detect`, and how its answers are filtered.

    Without a name: `grounding-dino-base` where the store has it, else the service's default model.
    `checkpoint_path` is a version's folder or an .onnx file, `config_path` its config.json;
    `okawari import --configured` brings them into the store.
    """

    name: str | None = None
    checkpoint_path: Annotated[str, AfterValidator(_servable)] | None = None
    config_path: str | None = None
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")] = "auto"
    text_prompt: str = "bird"
    box_threshold: _Share = 0.3
    text_threshold: _Share = 0.25
    nms_threshold: _Share = 0.5
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 100
    min_box_area: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0

    @model_validator(mode="after")
    def _importable(self) -> Self:
        if self.config_path is not None and Path(self.config_path).suffix.lower() != ".json":
            raise ValueError("config_path is the config.json of a version: `okawari config infer` writes one")
        if self.config_path is not None and self.checkpoint_path is None:
            raise ValueError("config_path needs checkpoint_path, the graph that it describes")
        return self


class ValidationSection(_Section):
    """Which pictures are accepted; sides in pixels."""

    max_image_size_mb: Annotated[float, Field(gt=0, le=1000)] = 10.0
    allowed_formats: tuple[Literal["jpeg", "png"], ...] = ("jpeg", "png")
    min_width: Annotated[int, Field(ge=1)] = 256
    min_height: Annotated[int, Field(ge=1)] = 256


class LakefsSection(_Section):
    """The lakeFS server that keeps the pictures; how often it commits, in any picture store."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+/?$")] | None = None
    access_key: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    repository: str = "bird-detection"
    branch: str = "main"
    commit_strategy: Literal["batch", "immediate"] = "batch"
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    batch_timeout_sec: Annotated[float, Field(gt=0, le=86_400)] = 300.0

    @model_validator(mode="after")
    def _with_keys(self) -> Self:
        if self.endpoint is not None and (self.access_key is None or self.secret_key is None):
            raise ValueError("endpoint needs access_key and secret_key")
        return self


class DatabaseSection(_Section):
    """The PostgreSQL database of the records. Without a host: SQLite in the home."""

    host: str | None = None
    port: _Port = 5432
    database: str = "bird_detection"
    user: str | None = None
    password: str | None = Field(default=None, repr=False)
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    max_overflow: Annotated[int, Field(ge=0, le=1000)] = 20
    echo: bool = False

    @property
    def url(self) -> str | None:
        """The URL with user and password, a secret; None without a host."""
        if self.host is None:
            return None
        login = ":".join(quote(part, safe="") for part in (self.user, self.password) if part is not None)
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        place = f"{host}:{self.port}/{quote(self.database, safe='')}"
        return f"postgresql://{login}@{place}" if login else f"postgresql://{place}"

    @model_validator(mode="after")
    def _with_user(self) -> Self:
        if self.password is not None and self.user is None:
            raise ValueError("password needs user")
        return self


class AuthSection(_Section):
    """Tokens of devices; those of `okawari device` are beside these. And who else needs a token."""

    enabled: bool = True
    required_for_predict: bool = False
    token_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] = "X-API-Token"  # noqa: S105
    tokens: Annotated[dict[_DeviceId, _Token], BeforeValidator(_with_values)] = Field(
        default_factory=dict, repr=False
    )


class BatchSection(_Section):
    """`/api/v1/detect/batch`."""

    enabled: bool = True
    max_batch_size: Annotated[int, Field(ge=1, le=1000)] = 50
    batch_timeout_sec: Annotated[float, Field(gt=0, le=3600)] = 300.0


class MetricsSection(_Section):
    """Metrics on a port of their own, beside `/metrics`."""

    enabled: bool = True
    port: _Port = 9090


class TracingSection(_Section):
    """Traces by OTLP; `endpoint` is the address of a collector, such as http://jaeger:4318."""

    enabled: bool | None = None
    endpoint: Annotated[str | None, Field(pattern=r"^https?://[^\s@]+$")] = None


class LoggingSection(_Section):
    """Log lines; the format is that of standard error, files are always JSON."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


class ObservabilitySection(_Section):
    """Metrics, traces and logs."""

    metrics: MetricsSection = MetricsSection()
    tracing: TracingSection = TracingSection()
    logging: LoggingSection = LoggingSection()


class StorageSection(_Section):
    """How much is stored, and for how long."""

    max_total_gb: _Gigabytes = 100.0
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    cleanup_enabled: bool = True
    cleanup_schedule: Annotated[str, AfterValidator(checked_schedule)] = "0 2 * * *"
    warning_threshold_gb: _Gigabytes = 85.0

    @model_validator(mode="after")
    def _warns_before_it_is_full(self) -> Self:
        if self.warning_threshold_gb > self.max_total_gb:
            raise ValueError("warning_threshold_gb must be at most max_total_gb")
        return self


class OutboxSection(_Section):
    """Accept pictures while database or picture store are away, and deliver them later."""

    enabled: bool = False


class Config(_Section):
    """The whole file."""

    server: ServerSection = ServerSection()
    model: ModelSection = ModelSection()
    validation: ValidationSection = ValidationSection()
    lakefs: LakefsSection = LakefsSection()
    database: DatabaseSection = DatabaseSection()
    auth: AuthSection = AuthSection()
    batch_processing: BatchSection = BatchSection()
    observability: ObservabilitySection = ObservabilitySection()
    storage: StorageSection = StorageSection()
    outbox: OutboxSection = OutboxSection()

    def given(self) -> dict[str, Any]:
        """What the file says, without defaults and without secrets."""
        return _public(self)


def _public(section: BaseModel) -> dict[str, Any]:
    fields = type(section).model_fields
    values = {name: getattr(section, name) for name in fields if name in section.model_fields_set}
    return {
        name: _public(value) if isinstance(value, BaseModel) else value
        for name, value in values.items()
        if fields[name].repr
    }


class BadConfig(ValueError):
    """The file cannot be used; `findings` has a line for each reason, without secrets."""

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = tuple(findings)


def load_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """The configuration in a file, all defaults without one. Raises `BadConfig`.

    References to variables and files are resolved in values, after the YAML is read. A key without a
    value, or whose variables give none (`${VAR:-}`), has its default.
    """
    if path is None:
        return Config()
    try:
        return _parsed(_text(path), environment)
    except BadConfig as error:
        raise BadConfig([f"{path.name}: {each}" for each in error.findings]) from None


def _text(path: Path) -> str:
    from common import strict_yaml

    try:
        with path.open("rb") as file:
            return file.read(4 * strict_yaml.LONGEST).decode()
    except OSError as error:
        raise BadConfig([f"cannot be read: {error.strerror} ({path})"]) from None
    except UnicodeDecodeError:
        raise BadConfig([f"is not UTF-8 ({path})"]) from None


def _parsed(text: str, environment: Mapping[str, str]) -> Config:
    from common import strict_yaml

    try:
        document = strict_yaml.load(text)
    except strict_yaml.BadYaml as error:
        raise BadConfig([str(error)]) from None
    if not isinstance(document, dict | None):
        raise BadConfig([f"holds no sections: write `{next(iter(Config.model_fields))}:` and its keys below"])
    findings: list[str] = []
    resolved = _resolved(document or {}, (), environment, findings)
    if findings:
        raise BadConfig(findings)
    try:
        return Config.model_validate(resolved)
    except ValidationError as error:
        raise BadConfig(
            [finding(item, document, Config) for item in error.errors(include_url=False)]
        ) from None


def _resolved(value: Any, place: Place, environment: Mapping[str, str], findings: list[str]) -> Any:
    """The value with all references resolved; None where they give nothing. Adds what cannot be."""
    if isinstance(value, dict):
        return {key: _resolved(each, (*place, key), environment, findings) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, (*place, index), environment, findings) for index, each in enumerate(value)]
    if not isinstance(value, str) or not has_reference(value):
        return value
    try:
        return resolve(value, environment) or None
    except BadReference as error:
        findings.append(f"{path_text(place)}: {error}")
        return None
