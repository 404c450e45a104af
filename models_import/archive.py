"""Archives are unpacked by BentoML itself, in a process and a home of its own.

`python -m models_import.archive ARCHIVE [FORMAT]` imports into the BENTOML_HOME that it is given.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from models_import import child
from models_import.errors import ImportRefused

#: Endings that BentoML does not take for what they are.
_FORMATS = {".tgz": "gz", ".txz": "xz", ".tbz2": "bz2"}


def unpack(archive: Path, room: Path) -> Path:
    """Unpack `archive` below `room`; return the folder with its `model.yaml`."""
    home, scratch = room / "home", room / "scratch"
    for folder in (home, scratch):
        folder.mkdir()
    kind = _FORMATS.get(archive.suffix, "")
    done = child.run_module(__name__, str(archive), kind, BENTOML_HOME=str(home), TMPDIR=str(scratch))
    if done.returncode != 0:
        raise ImportRefused(f"{archive}: BentoML cannot unpack it: {child.last_words(done.stderr)}")
    return _only_version(home, archive)


def _only_version(home: Path, archive: Path) -> Path:
    found = list((home / "models").glob("*/*/model.yaml"))
    if len(found) != 1:
        raise ImportRefused(f"{archive}: it holds {len(found)} models, not one")
    return found[0].parent


def main() -> None:
    """Import into this process's home; what is wrong goes to stderr in one line."""
    import bentoml

    path, kind = sys.argv[1], sys.argv[2]
    try:
        bentoml.models.import_model(os.path.abspath(path), kind or None)  # noqa: PTH100 - keeps links as they are
    except Exception as error:  # noqa: BLE001 - whatever a foreign archive makes BentoML raise
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
