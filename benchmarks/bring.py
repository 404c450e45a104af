"""`python -m benchmarks.bring HOME FOLDER...`: import versions in a process of its own, as users do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models_import.child import child_environment


def start(home: Path, folders: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Begin to import these versions into a home."""
    command = [sys.executable, "-m", __name__, str(home), *map(str, folders)]
    return subprocess.Popen(command, env=child_environment(), stdout=subprocess.DEVNULL)


def bring(home: Path, folders: Sequence[Path]) -> None:
    """Import these versions; raise RuntimeError if that fails."""
    if start(home, folders).wait() != 0:
        raise RuntimeError(f"the import into {home} failed")


def main() -> None:
    """Import what the command line names."""
    from models_import.importer import Importer
    from models_import.sources import Wanted, candidates

    importer = Importer(Path(sys.argv[1]))
    for path in sys.argv[2:]:
        for candidate in candidates(Path(path), Wanted()):
            importer.run(candidate)


if __name__ == "__main__":
    main()
