"""The configuration file of the detection server: `config.yaml`, sections and keys.

Every key has a default, so that a service without the file serves its routes with SQLite and a folder.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_Share = Annotated[float, Field(ge=0, le=1)]
_Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)


class ServerSection(_Section):
    """Where the service listens, and in how many processes."""

    host: str = "127.0.0.1"
    port: _Port = 3000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    reload: bool = False


class ModelSection(_Section):
    """The model that answers `/api/v1/detect`, and how its answers are filtered.

    Without a name: `grounding-dino-base` where the store has it, else the service's default model.
    """

    name: str | None = None
    checkpoint_path: str | None = None
    config_path: str | None = None
    device: str = "auto"
    text_prompt: str = "bird"
    box_threshold: _Share = 0.3
    text_threshold: _Share = 0.25
    nms_threshold: _Share = 0.5
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 100
    min_box_area: Annotated[float, Field(ge=0)] = 100.0


class ValidationSection(_Section):
    """Which pictures are accepted; sides in pixels."""

    max_image_size_mb: Annotated[float, Field(gt=0, le=1000)] = 10.0
    allowed_formats: tuple[Literal["jpeg", "png"], ...] = ("jpeg", "png")
    min_width: Annotated[int, Field(ge=1)] = 256
    min_height: Annotated[int, Field(ge=1)] = 256


class LakefsSection(_Section):
    """The lakeFS server that keeps the pictures; how often it commits, in any picture store."""

    endpoint: str | None = None
    access_key: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    repository: str = "bird-detection"
    branch: str = "main"
    commit_strategy: Literal["batch", "immediate"] = "batch"
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    batch_timeout_sec: Annotated[float, Field(gt=0, le=86_400)] = 300.0


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


class AuthSection(_Section):
    """Tokens of devices; those of `okawari device` are beside these."""

    enabled: bool = True
    token_header: str = "X-API-Token"  # noqa: S105 - a name
    tokens: dict[str, str] = Field(default_factory=dict, repr=False)


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
    """Traces by OTLP."""

    enabled: bool = False
    endpoint: str | None = None


class LoggingSection(_Section):
    """Log lines."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


class ObservabilitySection(_Section):
    """Metrics, traces and logs."""

    metrics: MetricsSection = MetricsSection()
    tracing: TracingSection = TracingSection()
    logging: LoggingSection = LoggingSection()


class StorageSection(_Section):
    """How much is stored, and for how long."""

    max_total_gb: Annotated[float, Field(gt=0)] = 100.0
    retention_days: Annotated[int, Field(ge=1)] = 90
    cleanup_enabled: bool = True
    cleanup_schedule: str = "0 2 * * *"
    warning_threshold_gb: Annotated[float, Field(gt=0)] = 85.0


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
        """What the file says, without defaults and secrets' values shown; for people."""
        return self.model_dump(exclude_unset=True, exclude={"auth": {"tokens"}})
