"""The configuration of the edge client, `config.yaml`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_MOST_IN_BATCH = 50
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?")
#: Key of the section `token` → field.
_TOKEN = {"variable": "token_variable", "file": "token_file"}


class BadSetup(Exception):
    """The configuration cannot be used."""


class TokenRefused(Exception):
    """The server refuses the token, also after it was read anew; or there is none to read."""


@dataclass(frozen=True, kw_only=True)
class EdgeConfig:
    """What `config.yaml` says."""

    url: str
    device_id: str
    folder: Path
    spool: Path
    token_variable: str | None = None
    token_file: Path | None = None
    timeout_sec: float = 30.0
    spool_max_mb: float = 2000.0
    poll_sec: float = 2.0
    settle_sec: float = 2.0
    batch_size: int = 20
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def token(self) -> str | None:
        """The token as it is now; None for a server that needs none. Raises `TokenRefused`."""
        token = os.environ.get(self.token_variable or "", "")
        if self.token_file is not None:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise TokenRefused(f"the token cannot be read: {error}") from None
        if not re.fullmatch(r"[!-~]*", token):
            raise TokenRefused("the token holds characters that no header can carry")
        return token or None


def read_config(path: Path) -> EdgeConfig:
    """The configuration in a file. Raises `BadSetup`."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSetup(f"{path} cannot be read: {error}") from None
    found = dict(document) if isinstance(document, dict) else {}
    for section, names in (("server", {"url": "url", "timeout_sec": "timeout_sec"}), ("token", _TOKEN)):
        for name, value in dict(found.pop(section, None) or {}).items():
            found[names.get(name, f"{section}.{name}")] = value
    for name in ("folder", "spool", "token_file"):
        if name in found:
            found[name] = path.parent / str(found[name])
    try:
        config = EdgeConfig(**found)
    except TypeError as error:
        raise BadSetup(f"{path}: {str(error).replace('EdgeConfig.__init__() ', '')}") from None
    return _checked(config, path)


def _checked(config: EdgeConfig, path: Path) -> EdgeConfig:
    numbers = (config.timeout_sec, config.spool_max_mb, config.poll_sec, config.settle_sec, config.batch_size)
    rules = {
        "server.url: write http://host:port or https://host": _URL.fullmatch(str(config.url)),
        "device_id: 1 to 100 letters, digits and ._-": re.fullmatch(
            r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", str(config.device_id)
        ),
        "numbers must be numbers, and not negative": all(
            isinstance(each, int | float) and each >= 0 for each in numbers
        ),
        f"batch_size: 1 to {_MOST_IN_BATCH}": config.batch_size in range(1, _MOST_IN_BATCH + 1),
        "metadata: keys and values": isinstance(config.metadata, dict),
        "spool: another folder than the pictures'": config.spool.resolve() != config.folder.resolve(),
    }
    for rule, is_kept in rules.items():
        if not is_kept:
            raise BadSetup(f"{path}: {rule}")
    return config
