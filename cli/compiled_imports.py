"""Compiles versions as the command line imports them, for the service of the same home."""

from __future__ import annotations

from cli.output import note
from hotswap.repository import Artifact
from models_import.importer import Compile
from settings import Settings

#: Seconds for which an import waits for a compile of another process.
_PATIENCE = 60.0


def compile_for(configured: Settings) -> Compile:
    """What an importer calls for each version; one that cannot be compiled is reported, and comes in."""

    def compile_version(artifact: Artifact) -> None:
        # Imported now: most commands need no onnxruntime.
        from models_import.compiler import Compiler
        from runners.compiled_graphs import CompiledGraphs

        graphs = CompiledGraphs(configured.compiled, configured.compiled_limit)
        outcome = Compiler(graphs).compile(artifact, _PATIENCE)
        if outcome.reason is not None and outcome.kind != "skipped":
            note(f"{artifact.tag} will be loaded the plain way: {outcome.reason}")

    return compile_version
