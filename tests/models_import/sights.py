"""What the tests of the store's reader share: what it says of models, and odd files."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from hotswap.repository import ModelInfo, VersionInfo
from manifest.tags import ModelTag
from models_import.store import ModelStore

V1 = ModelTag("code", "v1")


def model(store: ModelStore, name: str = "code") -> ModelInfo:
    """What a look shows of a model."""
    sights = store.look()
    assert sights is not None
    return sights[name]


def version(store: ModelStore, name: str = "v1") -> VersionInfo:
    """What it shows of a version of the model `code`."""
    return model(store).versions[name]


def reason(store: ModelStore, name: str = "v1") -> str:
    """Why that version cannot be served."""
    found = version(store, name).reason
    assert found is not None
    return found


def a_socket(path: Path) -> None:
    """Put one there."""
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)  # the whole path is too long for a socket


def a_link_to_a_device(path: Path) -> None:
    """Put one there that never ends."""
    path.symlink_to("/dev/zero")
