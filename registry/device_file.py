"""The devices that somebody chose for models by hand, as one JSON file beside the desired state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.files import locked, write_atomically
from hotswap.errors import StateUnavailable
from manifest.version_manifest import DeviceName

Devices = Mapping[str, DeviceName]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = 1
    devices: Annotated[dict[str, DeviceName], Field(max_length=10_000)] = {}


class DeviceFile:
    """`<home>/state/devices.json`: device by model. A version is loaded by what it says at that moment."""

    def __init__(self, home: Path) -> None:
        self._path = home / "state" / "devices.json"
        self._lock = home / "state" / "devices.lock"

    def read(self) -> Devices:
        """The device of each model that has one. Raises `StateUnavailable` if the file is damaged."""
        try:
            return _Document.model_validate_json(self._path.read_bytes()).devices
        except FileNotFoundError:
            return {}
        except (ValidationError, OSError) as error:
            raise StateUnavailable(f"{self._path} cannot be read; move it away: {_first(error)}") from None

    def choose(self, devices: Mapping[str, str | None]) -> Devices:
        """Note the device of each of these models; None: no choice of its own any more."""
        with locked(self._lock):
            merged = {**self.read(), **devices}
            kept = {name: device for name, device in sorted(merged.items()) if device is not None}
            document = _Document.model_validate({"devices": kept})
            write_atomically(self._path, document.model_dump_json(indent=1).encode())
        return document.devices


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
