"""A version as heavy as a real detector, in a store."""

from __future__ import annotations

from tests.e2e.stores import Store
from tests.support.heavy_graph import heavy_graph


def add_heavy(store: Store, version: str, code: int, size: int, name: str = "m") -> None:
    """Import a version with `size` bytes of weights."""
    folder = store.source(version, code, name)
    (folder / "weights.onnx").write_bytes(heavy_graph(code, size).SerializeToString())
    store.take(folder)
