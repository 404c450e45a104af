"""Build the versioned Bento and check what must be true of it: it lists no models.

usage: python -m scripts.build_bento [VERSION]      (default: the package's version and a time stamp)
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml

from bootstrap import version
from settings import Settings


def build(tag_version: str) -> bentoml.Bento:
    """Build from bentofile.yaml into the Bento store of this home."""
    bento = bentoml.bentos.build_bentofile(version=tag_version)
    if bento.info.all_models:
        raise SystemExit(f"{bento.tag} lists models: the mounted store would be ignored")
    return bento


def main() -> None:
    """Build, and say what to do with the result."""
    stamp = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    wanted = sys.argv[1] if len(sys.argv) > 1 else f"{version()}-{stamp}"
    bento = build(wanted)
    sys.stdout.write(
        f"built {bento.tag} in {bento.path}\n"
        f"  serve it:     .venv/bin/bentoml serve {bento.tag}\n"
        f"  containerize: .venv/bin/bentoml containerize {bento.tag} -t okawari:latest\n"
    )


if __name__ == "__main__":
    os.environ["BENTOML_HOME"] = str(Settings().store_home)
    main()
