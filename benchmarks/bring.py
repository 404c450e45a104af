"""Versions come into a home as users bring them: by the command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models_import.subprocesses import child_environment


def start(home: Path, folders: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Begin to import these versions into a home."""
    command = [sys.executable, "-m", "cli", "import", *map(str, folders)]
    homes = {"BENTOML_HOME": str(home), "OKAWARI_HOME": str(home)}
    # As in a container, a service manager or CI: a session of its own.
    return subprocess.Popen(
        command, env=child_environment(**homes), stdout=subprocess.DEVNULL, start_new_session=True
    )


def bring(home: Path, folders: Sequence[Path]) -> None:
    """Import these versions; raise RuntimeError if that fails."""
    if start(home, folders).wait() != 0:
        raise RuntimeError(f"the import into {home} failed")
