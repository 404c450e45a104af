"""Archives are unpacked by BentoML itself, in a process and a home of its own, and only if they fit.

`python -m models_import.archive ARCHIVE FORMAT BYTES` imports into the BENTOML_HOME that it is given.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from models_import import child
from models_import.errors import ImportRefused
from models_import.unpacked import TooLarge, check_unpacked

#: Weights hardly shrink. What is small anyway may shrink as it likes.
_MOST_TIMES = 100
_SMALL_BYTES = 250_000_000

#: Seconds within which an archive must be unpacked.
LIMIT = 1800.0
_TOO_LARGE = 3


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes an archive may hold, and what to do with one that holds more."""

    size: int
    mend: str


def bound_of(archive: Path, free: int) -> Bound:
    """What is believed of an archive where `free` bytes may be written."""
    plausible = max(_SMALL_BYTES, _MOST_TIMES * archive.stat().st_size)
    if free < plausible:
        return Bound(max(0, free), "remove versions that nobody needs with `okawari remove`")
    return Bound(plausible, "if you trust it, unpack it yourself and import the folder")


def unpack(archive: Path, room: Path, bound: Bound, packing: str = "") -> Path:
    """Unpack `archive` below `room`; return the folder with its `model.yaml`. Raises `ImportRefused`.

    `packing` is BentoML's word for its format; empty, the name's ending tells it.
    """
    home, scratch = room / "home", room / "scratch"
    for folder in (home, scratch):
        folder.mkdir()
    home_of_child = {"BENTOML_HOME": str(home), "TMPDIR": str(scratch)}
    try:
        done = child.run_module(
            __name__, str(archive), packing, str(bound.size), timeout=LIMIT, **home_of_child
        )
    except subprocess.TimeoutExpired:
        raise ImportRefused(f"{archive}: it was not unpacked within {LIMIT:g} s") from None
    said = child.last_words(done.stderr)
    if done.returncode == _TOO_LARGE:
        raise ImportRefused(f"{archive}: {said}: {bound.mend}")
    if done.returncode != 0:
        raise ImportRefused(f"{archive}: {said}")
    return _only_version(home, archive)


def _only_version(home: Path, archive: Path) -> Path:
    found = list((home / "models").glob("*/*/model.yaml"))
    if len(found) != 1:
        raise ImportRefused(f"{archive}: it holds {len(found)} models, not one")
    return found[0].parent


def main() -> None:
    """Import into this process's home; what is wrong goes to stderr in one line."""
    path, packing, most = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])  # noqa: PTH100 - keeps links
    # Whoever waits for this process may be gone before it can end it.
    signal.alarm(int(LIMIT) + 5)
    _limit_files(most)
    try:
        exported = check_unpacked(path, packing, most)
        if exported:
            _import(path, packing)
    except TooLarge as error:
        print(error, file=sys.stderr)
        sys.exit(_TOO_LARGE)
    except Exception as error:  # noqa: BLE001 - whatever a foreign archive makes BentoML raise
        sys.exit(f"BentoML cannot unpack it, it is cut off or damaged: {type(error).__name__}: {error}")
    if not exported:
        sys.exit(
            "it was not exported by BentoML (no model.yaml at its top): unpack it, and import the folder"
        )


def _limit_files(most: int) -> None:
    """Let no file of this process grow above `most`, should an archive hold more than it says."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _import(path: str, packing: str) -> None:
    import bentoml

    bentoml.models.import_model(path, packing or None)


if __name__ == "__main__":
    main()
