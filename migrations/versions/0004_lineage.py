"""The records of the detection server: devices, pictures, detections, runs, annotations, metrics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)
_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
_TABLES = (
    "devices",
    "images",
    "detections",
    "inference_sessions",
    "data_annotations",
    "system_metrics",
    "device_tokens",
    "device_rates",
    "dataset_images",
    "lineage_tasks",
)


def upgrade() -> None:
    """Make the tables; it may run while services of the release before use the database."""
    _devices()
    _images()
    _detections()
    _sessions()
    _annotations()
    _metrics()
    _tokens()
    _shared()


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid, primary_key=True)


def _of(table: str, column: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[object]:
    """A foreign key whose row goes with the one it points at."""
    key = sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
    return sa.Column(column, sa.Uuid, key, nullable=nullable, primary_key=primary_key)


def _devices() -> None:
    op.create_table(
        "devices",
        _id(),
        sa.Column("device_id", sa.String(255), nullable=False, unique=True),
        sa.Column("name", sa.String(255)),
        sa.Column("location", sa.JSON),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_seen", _TIME),
        sa.Column("metadata", sa.JSON),
        sa.Column("disabled_at", _TIME),
    )


def _images() -> None:
    op.create_table(
        "images",
        _id(),
        _of("devices", "device_id"),
        # By its bytes, as picture stores list paths.
        sa.Column(
            "lakefs_path",
            sa.String(512).with_variant(sa.String(512, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("lakefs_commit_id", sa.String(64)),
        sa.Column("original_filename", sa.String(255)),
        sa.Column("captured_at", _TIME, nullable=False),
        sa.Column("uploaded_at", _TIME, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("processing_status", sa.String(50), nullable=False),
        sa.Column("processed_at", _TIME),
        sa.Column("has_detections", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("is_flagged", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("metadata", sa.JSON),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("clock_offset_ms", sa.Integer),
        sa.Column("deleted_at", _TIME),
        sa.Column("deletion_reason", sa.String(100)),
        sa.Column("picture_removed_at", _TIME),
        sa.CheckConstraint(
            "processing_status IN ('pending', 'processing', 'completed', 'failed')",
            name="images_processing_status_known",
        ),
        sa.UniqueConstraint("device_id", "captured_at", "sha256", name="images_hand_in"),
        sa.UniqueConstraint("device_id", "idempotency_key", name="images_idempotency_key"),
    )
    op.create_index("images_device_captured", "images", ["device_id", sa.text("captured_at DESC")])
    op.create_index("images_lakefs_path", "images", ["lakefs_path"], unique=True)
    op.create_index("images_processing_status", "images", ["processing_status"])
    op.create_index("images_has_detections", "images", ["has_detections"])
    not_yet = sa.text("lakefs_commit_id IS NULL")
    op.create_index(
        "images_uncommitted", "images", ["uploaded_at", "id"], sqlite_where=not_yet, postgresql_where=not_yet
    )
    stored = sa.text("deleted_at IS NULL")
    op.create_index(
        "images_stored",
        "images",
        ["uploaded_at", "id", "size_bytes", "deleted_at"],
        sqlite_where=stored,
        postgresql_where=stored,
    )
    in_removal = sa.text("deleted_at IS NOT NULL AND picture_removed_at IS NULL")
    op.create_index(
        "images_in_removal", "images", ["deleted_at"], sqlite_where=in_removal, postgresql_where=in_removal
    )


def _detections() -> None:
    op.create_table(
        "detections",
        _id(),
        _of("images", "image_id"),
        *(sa.Column(name, sa.REAL, nullable=False) for name in _BOX),
        sa.Column("confidence", sa.REAL, nullable=False),
        sa.Column("label", sa.String(100), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("model_version", sa.String(50), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("metadata", sa.JSON),
        sa.Column("model_digest", sa.String(200), nullable=False),
        *(
            sa.CheckConstraint(f"{name} >= 0 AND {name} <= 1", name=f"detections_{name}_in_picture")
            for name in _BOX
        ),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="detections_confidence_in_range"),
    )
    op.create_index("detections_image", "detections", ["image_id"])
    op.create_index("detections_confidence", "detections", [sa.text("confidence DESC")])
    op.create_index("detections_label", "detections", ["label"])
    op.create_index("detections_model", "detections", ["model_name", "model_version"])


def _sessions() -> None:
    op.create_table(
        "inference_sessions",
        _id(),
        _of("images", "image_id"),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("completed_at", _TIME),
        sa.Column("duration_ms", sa.REAL),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("model_version", sa.String(50), nullable=False),
        sa.Column("text_prompt", sa.Text),
        sa.Column("config", sa.JSON),
        sa.Column("num_detections", sa.Integer, nullable=False),
        sa.Column("max_confidence", sa.REAL),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("error_message", sa.Text),
        sa.Column("model_digest", sa.String(200), nullable=False),
        sa.CheckConstraint(
            "status IN ('success', 'failed', 'timeout')", name="inference_sessions_status_known"
        ),
    )
    op.create_index("inference_sessions_image", "inference_sessions", ["image_id"])
    op.create_index("inference_sessions_started", "inference_sessions", [sa.text("started_at DESC")])
    op.create_index("inference_sessions_status", "inference_sessions", ["status"])


def _annotations() -> None:
    op.create_table(
        "data_annotations",
        _id(),
        _of("images", "image_id"),
        _of("detections", "detection_id", nullable=True),
        sa.Column("annotation_type", sa.String(50), nullable=False),
        sa.Column("corrected_bbox", sa.JSON),
        sa.Column("corrected_label", sa.String(100)),
        sa.Column("annotator", sa.String(100)),
        sa.Column("annotated_at", _TIME, nullable=False),
        sa.Column("notes", sa.Text),
        sa.CheckConstraint(
            "annotation_type IN ('false_positive', 'missed_detection', 'incorrect_bbox', 'wrong_label')",
            name="data_annotations_type_known",
        ),
    )
    op.create_index("data_annotations_image", "data_annotations", ["image_id"])
    op.create_index("data_annotations_type", "data_annotations", ["annotation_type"])


def _metrics() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "system_metrics",
        sa.Column("id", serial, primary_key=True),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("metric_name", sa.String(100), nullable=False),
        sa.Column("metric_value", sa.REAL, nullable=False),
        sa.Column("labels", sa.JSON),
    )
    op.create_index("system_metrics_timestamp", "system_metrics", ["timestamp"])
    op.create_index("system_metrics_name", "system_metrics", ["metric_name", "timestamp"])


def _tokens() -> None:
    op.create_table(
        "device_tokens",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        _of("devices", "device_id"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
    )
    op.create_index("device_tokens_device", "device_tokens", ["device_id"])


def _shared() -> None:
    op.create_table(
        "device_rates",
        sa.Column("device_id", sa.String(255), primary_key=True),
        sa.Column("tokens", sa.REAL, nullable=False),
        sa.Column("refilled_at", _TIME, nullable=False),
    )
    op.create_table(
        "dataset_images",
        sa.Column("dataset", sa.String(100), primary_key=True),
        _of("images", "image_id", primary_key=True),
        sa.Column("added_at", _TIME, nullable=False),
    )
    op.create_index("dataset_images_image", "dataset_images", ["image_id"])
    op.create_table(
        "lineage_tasks",
        sa.Column("task", sa.String(50), primary_key=True),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("until", _TIME, nullable=False),
    )


def downgrade() -> None:
    """Remove the records with all that they hold; pictures in the store and the registry stay."""
    for table in reversed(_TABLES):
        op.drop_table(table)
