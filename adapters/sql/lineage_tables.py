"""The tables of pictures and their records, as `migrations/` make them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)
from sqlalchemy.types import REAL

from adapters.sql.tables import METADATA, UtcTime

#: SQLite numbers rows by itself only where the type is INTEGER.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")
#: Paths sort by their bytes, as picture stores list them, whatever language the database has.
_PATH = String(512).with_variant(String(512, collation="C"), "postgresql")

DEVICES = Table(
    "devices",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("device_id", String(255), nullable=False, unique=True),
    Column("name", String(255)),
    Column("location", JSON),
    Column("created_at", UtcTime, nullable=False),
    Column("last_seen", UtcTime),
    Column("metadata", JSON),
    # Beyond what was asked for: a device that is disabled is refused with any token.
    Column("disabled_at", UtcTime),
)

IMAGES = Table(
    "images",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("lakefs_path", _PATH, nullable=False),
    Column("lakefs_commit_id", String(64)),
    Column("original_filename", String(255)),
    Column("captured_at", UtcTime, nullable=False),
    Column("uploaded_at", UtcTime, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(10), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("processing_status", String(50), nullable=False),
    Column("processed_at", UtcTime),
    Column("has_detections", Boolean, nullable=False, server_default=false()),
    Column("is_flagged", Boolean, nullable=False, server_default=false()),
    Column("metadata", JSON),
    Column("sha256", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("clock_offset_ms", Integer),
    # Set when retention has removed the picture: the row stays and says so.
    Column("deleted_at", UtcTime),
    Column("deletion_reason", String(100)),
    # Set when the picture store has deleted it, too; between the two a stopped clean-up is completed.
    Column("picture_removed_at", UtcTime),
    CheckConstraint(
        "processing_status IN ('pending', 'processing', 'completed', 'failed')",
        name="images_processing_status_known",
    ),
    UniqueConstraint("device_id", "captured_at", "sha256", name="images_hand_in"),
    UniqueConstraint("device_id", "idempotency_key", name="images_idempotency_key"),
)
Index("images_device_captured", IMAGES.c.device_id, IMAGES.c.captured_at.desc())
Index("images_lakefs_path", IMAGES.c.lakefs_path, unique=True)
Index("images_processing_status", IMAGES.c.processing_status)
Index("images_has_detections", IMAGES.c.has_detections)
# What the next commit takes; empty most of the time.
Index(
    "images_uncommitted",
    IMAGES.c.uploaded_at,
    IMAGES.c.id,
    sqlite_where=IMAGES.c.lakefs_commit_id.is_(None),
    postgresql_where=IMAGES.c.lakefs_commit_id.is_(None),
)

# What is stored, in the order in which retention looks at it; the sum of the sizes reads nothing else.
Index(
    "images_stored",
    IMAGES.c.uploaded_at,
    IMAGES.c.id,
    IMAGES.c.size_bytes,
    IMAGES.c.deleted_at,  # SQLite reads the row for it otherwise
    sqlite_where=IMAGES.c.deleted_at.is_(None),
    postgresql_where=IMAGES.c.deleted_at.is_(None),
)
# What a clean-up that was stopped has still to delete; empty most of the time.
_IN_REMOVAL = IMAGES.c.deleted_at.is_not(None) & IMAGES.c.picture_removed_at.is_(None)
Index("images_in_removal", IMAGES.c.deleted_at, sqlite_where=_IN_REMOVAL, postgresql_where=_IN_REMOVAL)

_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")

DETECTIONS = Table(
    "detections",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), nullable=False),
    *(Column(name, REAL, nullable=False) for name in _BOX),
    Column("confidence", REAL, nullable=False),
    Column("label", String(100), nullable=False),
    Column("model_name", String(100), nullable=False),
    Column("model_version", String(50), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("metadata", JSON),
    Column("model_digest", String(200), nullable=False),
    *(CheckConstraint(f"{name} >= 0 AND {name} <= 1", name=f"detections_{name}_in_picture") for name in _BOX),
    CheckConstraint("confidence >= 0 AND confidence <= 1", name="detections_confidence_in_range"),
    Index("detections_image", "image_id"),
    Index("detections_label", "label"),
    Index("detections_model", "model_name", "model_version"),
)
Index("detections_confidence", DETECTIONS.c.confidence.desc())

SESSIONS = Table(
    "inference_sessions",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("completed_at", UtcTime),
    Column("duration_ms", REAL),
    Column("model_name", String(100), nullable=False),
    Column("model_version", String(50), nullable=False),
    Column("text_prompt", Text),
    Column("config", JSON),
    Column("num_detections", Integer, nullable=False),
    Column("max_confidence", REAL),
    Column("status", String(50), nullable=False),
    Column("error_message", Text),
    Column("model_digest", String(200), nullable=False),
    CheckConstraint("status IN ('success', 'failed', 'timeout')", name="inference_sessions_status_known"),
    Index("inference_sessions_image", "image_id"),
    Index("inference_sessions_status", "status"),
)
Index("inference_sessions_started", SESSIONS.c.started_at.desc())

ANNOTATIONS = Table(
    "data_annotations",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), nullable=False),
    Column("detection_id", ForeignKey("detections.id", ondelete="CASCADE")),
    Column("annotation_type", String(50), nullable=False),
    Column("corrected_bbox", JSON),
    Column("corrected_label", String(100)),
    Column("annotator", String(100)),
    Column("annotated_at", UtcTime, nullable=False),
    Column("notes", Text),
    CheckConstraint(
        "annotation_type IN ('false_positive', 'missed_detection', 'incorrect_bbox', 'wrong_label')",
        name="data_annotations_type_known",
    ),
    Index("data_annotations_image", "image_id"),
    Index("data_annotations_type", "annotation_type"),
)

METRICS = Table(
    "system_metrics",
    METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("timestamp", UtcTime, nullable=False),
    Column("metric_name", String(100), nullable=False),
    Column("metric_value", REAL, nullable=False),
    Column("labels", JSON),
    Index("system_metrics_timestamp", "timestamp"),
    Index("system_metrics_name", "metric_name", "timestamp"),
)

#: Tokens of devices, hashed; during a rotation a device has two.
TOKENS = Table(
    "device_tokens",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Index("device_tokens_device", "device_id"),
)

#: The bucket of each device's rate limit, shared by all replicas.
RATES = Table(
    "device_rates",
    METADATA,
    Column("device_id", String(255), primary_key=True),
    Column("tokens", REAL, nullable=False),
    Column("refilled_at", UtcTime, nullable=False),
)

#: Which pictures a data set holds: retention never removes them.
DATASETS = Table(
    "dataset_images",
    METADATA,
    Column("dataset", String(100), primary_key=True),
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("added_at", UtcTime, nullable=False),
    Index("dataset_images_image", "image_id"),
)

#: Which of several services does a task, such as retention, until when.
TASKS = Table(
    "lineage_tasks",
    METADATA,
    Column("task", String(50), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("until", UtcTime, nullable=False),
)

#: In the order in which they can be made.
TABLES = (
    DEVICES,
    IMAGES,
    DETECTIONS,
    SESSIONS,
    ANNOTATIONS,
    METRICS,
    TOKENS,
    RATES,
    DATASETS,
    TASKS,
)
