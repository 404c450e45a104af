"""Runs the client whose stub is made from the proto without a package, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PROTO = "modelmora_plain.proto"


def ask(folder: Path, address: str, model: str, picture: Path) -> dict[str, Any]:
    """What the client was answered. The stub is made anew, in `folder`."""
    make = ["-m", "grpc_tools.protoc", f"-I{ROOT / 'api/protos'}", "--python_out=.", "--grpc_python_out=."]
    _run(folder, *make, PROTO)
    client = str(Path(__file__).with_name("plain_client.py"))
    (folder / "client.py").write_text(Path(client).read_text())
    found: dict[str, Any] = json.loads(_run(folder, "client.py", address, model, str(picture)))
    return found


def _run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
