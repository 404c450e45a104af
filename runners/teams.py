"""Adapters: the code of teams, found in the folder `adapters/` of the team root or of the product.

An adapter is a class `__init__(self, weights_path=None, model_tag=None)` with a method
`run(self, image_bytes_or_uri, model_tag=None, extra=None) -> dict`. It is a file `<team>_runner.py`; what it
imports may lie in `models/<team>/` beside `adapters/`.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from common.text import plain
from hotswap.errors import VersionFailed
from manifest.teams import TEAMS_FILE, BadTeams, choose_team, read_teams

_SUFFIX = "_runner"
#: The product's own folder, which holds the adapter of the team `fruit`.
_OWN = Path(__file__).resolve().parents[1]
_loading = threading.Lock()


class TeamAdapter(Protocol):
    """The code of a team."""

    def run(
        self,
        image_bytes_or_uri: bytes | str,
        model_tag: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What it says of a picture. Whatever it raises is a lasting failure with that reason."""
        ...


class AdapterFolders:
    """Where adapters lie: `adapters/` of the team root, then of the product."""

    def __init__(self, root: Path | None = None) -> None:
        self._roots = tuple(dict.fromkeys(each.absolute() for each in (root, _OWN) if each is not None))

    def teams(self) -> dict[str, str]:
        """The adapters that are there, by team: files `<team>_runner.py`."""
        found = {}
        for root in reversed(self._roots):
            for file in sorted((root / "adapters").glob(f"*{_SUFFIX}.py")):
                found[file.stem.removesuffix(_SUFFIX)] = file.stem
        return found

    @property
    def team_list(self) -> Path | None:
        """The list of teams: the first that there is."""
        files = (root / TEAMS_FILE for root in self._roots)
        return next((file for file in files if file.is_file()), None)

    def file(self, place: str) -> Path | None:
        """The file of `file` or `file:Class`; None where there is none."""
        stem = place.partition(":")[0]
        files = (root / "adapters" / f"{stem}.py" for root in self._roots)
        return next((file for file in files if file.is_file()), None)

    def load(self, place: str) -> type[TeamAdapter]:
        """The class of `file` or `file:Class`; raises `VersionFailed` naming the file and the reason.

        A file is read once in a process: new code is served by the next one.
        """
        stem, _, wanted = place.partition(":")
        path = next(
            (file for root in self._roots if (file := root / "adapters" / f"{stem}.py").is_file()), None
        )
        if path is None:
            where = " or ".join(str(root / "adapters") for root in self._roots)
            raise VersionFailed(f"adapter {place}: there is no {stem}.py in {where}; mount it there")
        module = _module(path)
        classes: list[type[Any]] = [
            each
            for _, each in inspect.getmembers(module, inspect.isclass)
            if each.__module__ == module.__name__ and callable(getattr(each, "run", None))
        ]
        chosen = [each for each in classes if not wanted or each.__name__ == wanted]
        if len(chosen) != 1:
            names = ", ".join(each.__name__ for each in classes) or "none"
            raise VersionFailed(
                f"adapter {place}: {path} should have one class {wanted or '…'} with a method run, "
                f"found {names}"
            )
        return chosen[0]


def get_model_runner(
    team: str,
    weights_path: str | None = None,
    model_tag: str | None = None,
    *,
    folders: AdapterFolders | None = None,
) -> TeamAdapter:
    """The adapter of a team, in upper or lower case, ready to run: to try it outside the service.

    Raises `VersionFailed` where there is none, or where it cannot be made.
    """
    known = folders or AdapterFolders()
    try:
        chosen = choose_team(team, read_teams(known.team_list), known.teams(), has_weights=False)
    except BadTeams as error:
        raise VersionFailed(str(error)) from None
    if chosen.adapter is None:
        raise VersionFailed(f"TEAM {chosen.name} has no adapter: its model {chosen.model} answers by itself")
    return made(known.load(chosen.adapter), weights_path, model_tag)


def made(adapter: type[TeamAdapter], weights_path: str | None, model_tag: str | None) -> TeamAdapter:
    """An adapter of that class. Raises `VersionFailed` with what its `__init__` raises."""
    make: Any = adapter
    try:
        instance: TeamAdapter = make(weights_path=weights_path, model_tag=model_tag)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the code of others
        raise VersionFailed(f"adapter {adapter.__name__}: {reason_of(error)}") from None
    return instance


def reason_of(error: BaseException) -> str:
    """What the code of others raised, in one line."""
    return plain(f"{type(error).__name__}: {error}".strip().rstrip(":"), 500)


def _module(path: Path) -> ModuleType:
    """The module of a file, read once. Raises `VersionFailed` with what it raises."""
    name = f"okawari_adapters_{abs(hash(str(path))):x}_{path.stem}"
    with _loading:
        known = sys.modules.get(name)
        if known is not None:
            return known
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise VersionFailed(f"adapter {path}: it is no Python file")
        module = importlib.util.module_from_spec(spec)
        _see([path.parent.parent])
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the code of others
            del sys.modules[name]
            raise VersionFailed(f"adapter {path}: {reason_of(error)}") from None
        return module


def _see(roots: Sequence[Path]) -> None:
    """Let adapters import `models.<team>`; what is there already comes first."""
    for root in roots:
        if str(root) not in sys.path:
            sys.path.append(str(root))
