"""A graph as onnxruntime runs it on this CPU: optimised and saved once, opened without that work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from runners.devices import CPU_PROVIDER
from runners.placed_graph import session_options

#: Bytes from which on a weight is kept outside of the graph, where it is mapped.
_EXTERNAL_FROM = 1024


def save_optimised(weights: Path, threads: int, target: Path) -> None:
    """Save a graph as onnxruntime runs it, its weights beside it. Raises whatever onnxruntime does."""
    options = session_options(threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(target)
    for name, value in (
        ("external_initializers_file_name", target.with_suffix(".data").name),
        ("external_initializers_min_size_in_bytes", str(_EXTERNAL_FROM)),
    ):
        options.add_session_config_entry(f"session.optimized_model_{name}", value)
    _session(weights, options)


def open_optimised(graph: Path, threads: int) -> Any:
    """A session on a saved graph; its weights are mapped. Raises whatever onnxruntime does."""
    options = session_options(threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _session(graph, options)


def _session(graph: Path, options: ort.SessionOptions) -> Any:
    return ort.InferenceSession(str(graph), sess_options=options, providers=[CPU_PROVIDER], enable_fallback=0)
