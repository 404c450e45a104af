"""Paths under /v1 that are not supported, as patterns, with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = r"/v1/models/[^/]+(/versions/[^/]+)?"
#: Of KServe and TensorFlow Serving.
PATHS: Mapping[str, str] = {
    f"{_MODEL}:(classify|regress|explain)": "not supported; use …:predict",
    f"{_MODEL}/metadata": "not supported; GET /v2/models/{name} lists inputs and outputs",
}
#: A version by its label; asking so is a mistake of the caller.
LABELS: Mapping[str, str] = {
    r"/v1/models/[^/]+/labels/.*": "version labels are not supported; name a version (…/versions/v2), or "
    "none for the serving one"
}
