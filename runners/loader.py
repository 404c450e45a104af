"""Loads the ONNX model of an artifact."""

from __future__ import annotations

from hotswap.errors import VersionFailed
from hotswap.manifest import BadManifest
from hotswap.repository import Artifact
from runners.families.generic import Generic
from runners.families.index import check_config, family_of
from runners.label_file import with_labels
from runners.onnx_runner import OnnxRunner
from runners.session import load_graph, load_graphs
from runners.tensor_runner import TensorRunner


class OnnxLoader:
    """Loads ONNX models of all families. Implements `hotswap.runner.Loader`."""

    def __init__(self, *, max_pixels: int, thread_cap: int) -> None:
        """Refuse pictures of more than `max_pixels`; give no model more than `thread_cap` threads."""
        self._max_pixels = max_pixels
        self._thread_cap = max(1, thread_cap)

    def load(self, artifact: Artifact) -> OnnxRunner | TensorRunner:
        """See `Loader.load`."""
        try:
            config = with_labels(artifact.config, artifact.path)
            check_config(config)
        except BadManifest as error:
            raise VersionFailed(str(error)) from None
        threads = min(config.resources.threads, self._thread_cap)
        family = family_of(config)
        family.prepare(artifact.path)
        if isinstance(family, Generic) and config.picture is None:
            return TensorRunner(artifact, load_graph(artifact, threads), family)
        graphs = load_graphs(artifact, threads, family.fed, family.other_graphs)
        return OnnxRunner(artifact, graphs, family, self._max_pixels)
