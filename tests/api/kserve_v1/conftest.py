"""The service that tests of V1 share with those of the Open Inference Protocol."""

from __future__ import annotations

from tests.api.open_inference.conftest import v2

__all__ = ["v2"]
