"""`metadata.json` in the folder of a device's day: its pictures, for those who have only the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lineage.records import FoundObject, ImageRecord

METADATA_NAME = "metadata.json"


def day_metadata(folder: str, images: Iterable[ImageRecord]) -> bytes:
    """The document, with one picture a line; the same pictures give the same bytes."""
    lines = (json.dumps(_picture(image), sort_keys=True).encode() for image in images)
    return b'{"folder": %b, "pictures": [\n%b\n]}\n' % (json.dumps(folder).encode(), b",\n".join(lines))


def _picture(image: ImageRecord) -> Mapping[str, Any]:
    capture, run = image.capture, image.run
    return {
        "path": image.path,
        "image_id": str(image.image_id),
        "device_id": capture.device_id,
        "captured_at": capture.captured_at.isoformat(),
        "sha256": capture.sha256,
        "size_bytes": capture.size_bytes,
        "width": capture.width,
        "height": capture.height,
        "status": image.status.value,
        "model": run.model_name if run else None,
        "model_version": run.model_version if run else None,
        "model_digest": run.model_digest if run else None,
        "detections": [_detection(one) for one in image.found],
    }


def _detection(one: FoundObject) -> Mapping[str, Any]:
    return {"id": str(one.id), "label": one.label, "confidence": one.confidence, "bbox": one.bbox}
