"""What several modules here begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hotswap.workers import Workers


@pytest.fixture
def two(tmp_path: Path) -> Workers:
    """Two workers that answer with v1; v2 is in the store."""
    workers = Workers(tmp_path, 2, "m:v1")
    workers.settle()
    assert workers.all() == ["v1", "v1"]
    workers.source.add("m:v2")
    return workers
