"""Loads the ONNX model of an artifact."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from hotswap.errors import VersionFailed
from hotswap.repository import Artifact
from hotswap.runner import Fallback
from manifest.profiles import ModelProfile, Profiles, no_profiles
from manifest.tags import ModelTag
from manifest.version_manifest import BadManifest
from runners.adapter_runner import AdapterRunner
from runners.compiled_graphs import CompiledGraphs
from runners.devices import DeviceRules
from runners.families.adapter import Adapter
from runners.families.generic import Generic
from runners.families.index import check_config, family_of
from runners.label_file import with_labels
from runners.onnx_runner import OnnxRunner
from runners.placed_graph import GraphPlacer, OpenSession, SessionOpener, open_session
from runners.session import load_graph, load_graphs
from runners.teams import AdapterFolders
from runners.tensor_runner import TensorRunner

logger = logging.getLogger("bentoml.okawari.runners")


class OnnxLoader:
    """Loads ONNX models of all families. Implements `hotswap.runner.Loader`."""

    def __init__(
        self,
        *,
        max_pixels: int,
        thread_cap: int,
        devices: DeviceRules | None = None,
        profiles: Profiles = no_profiles,
        warm_up: bool = True,
        fell_back: Callable[[ModelTag, Fallback], None] = lambda _tag, _fallback: None,
        open_graph: OpenSession = open_session,
        compiled: CompiledGraphs | None = None,
        adapters: AdapterFolders | None = None,
    ) -> None:
        """Refuse pictures of more than `max_pixels`; give no model more than `thread_cap` threads.

        By default all run on the CPU. Graphs are opened from their `compiled` form where there is one.
        Without `warm_up` only those are warmed whose profile says so. `adapters` are the codes of teams.
        """
        self._max_pixels = max_pixels
        self._devices = devices or DeviceRules()
        self._profiles = profiles
        self._warm_up = warm_up
        self._fell_back = fell_back
        self._compiled = compiled
        self._adapters = adapters or AdapterFolders()
        self._thread_cap = max(1, thread_cap)
        self._proven: dict[str, bool] = {}
        # Without threads of its own no session needs the opener, nor the service one more thread.
        self._open_graph = SessionOpener(open_graph) if self._thread_cap > 1 else open_graph

    def load(self, artifact: Artifact) -> OnnxRunner | TensorRunner | AdapterRunner:
        """See `Loader.load`. What the model's profile declares lies over the config."""
        artifact = self._declared(artifact)
        try:
            config = with_labels(artifact.config, artifact.path)
            check_config(config)
        except BadManifest as error:
            raise VersionFailed(str(error)) from None
        threads = min(config.resources.threads, self._thread_cap)
        family = family_of(config)
        if isinstance(family, Adapter):
            adapter = self._adapters.load(family.parameters.adapter)
            return AdapterRunner(artifact, adapter, self._max_pixels)
        family.prepare(artifact.path)
        placer = self._placer(artifact)
        if isinstance(family, Generic) and config.picture is None:
            return TensorRunner(artifact, load_graph(artifact, threads, placer), family)
        graphs = load_graphs(artifact, threads, family.fed, family.other_graphs, placer)
        return OnnxRunner(artifact, graphs, family, self._max_pixels, self._proven)

    def _declared(self, artifact: Artifact) -> Artifact:
        profile = self._profiles().get(artifact.tag.name, ModelProfile(artifact.tag.name))
        if (misfit := profile.misfit(artifact.config)) is not None:
            logger.warning("%s is %s", artifact.tag, misfit)
        if not self._warm_up and not profile.warms_up:
            profile = replace(profile, warm_up_samples=0)
        return replace(artifact, config=profile.laid_over(artifact.config))

    def _placer(self, artifact: Artifact) -> GraphPlacer:
        def fell_back(fallback: Fallback) -> None:
            logger.warning(
                "%s runs on the CPU instead of %s: %s", artifact.tag, fallback.device, fallback.reason
            )
            self._fell_back(artifact.tag, fallback)

        open_graph = self._open_graph
        if self._compiled is not None:
            open_graph = self._compiled.opener(artifact, open_graph)
        return GraphPlacer(self._devices.device_of(artifact), fell_back, open_graph, self._devices.available)
