"""`import --team`: weights of teams become versions: of the one that TEAM names, or of all."""

from __future__ import annotations

import json
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.errors import Refused
from manifest.teams import BadTeams, Team, choose_team, read_teams
from manifest.version_manifest import CONFIG_FILE
from models_import.candidates import Candidate, Wanted, candidates
from models_import.errors import ImportRefused, ImportUnavailable
from models_import.file_kinds import is_onnx, kind_of
from models_import.fingerprints import digest_of_all
from models_import.importer import Imported, Importer
from models_import.inferred_config import infer_config
from models_import.pointer import latest_of
from runners.teams import AdapterFolders
from settings import Settings

logger = logging.getLogger("okawari.team")

_ENDING = "_best.onnx"
#: Seconds between two looks at the weights; they are imported when two looks see the same.
_PAUSE = 2.0
_OTHERS = (".pt", ".ts", ".pth", ".torchscript")

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class TeamWeights:
    """The weights of a team, and the config that describes them, where one lies beside them."""

    team: Team
    path: Path
    config: Path | None
    code: Path | None = None

    def signature(self) -> Signature:
        """Changes with the files, the adapter's too. Raises `OSError`."""
        files = [self.path, *(each for each in (self.config, self.code) if each is not None)]
        status = [(file, file.stat()) for file in files]
        return tuple((str(file), each.st_mtime_ns, each.st_size) for file, each in status)


def all_weights(settings: Settings) -> tuple[list[TeamWeights], list[str]]:
    """Where the weights are: of the team that TEAM names, else of all in `weights/` of the team root.

    Beside them what is wrong with others. Raises `Refused` for an unknown team, and where there are none.
    """
    if settings.team is not None:
        return [_weights(settings, settings.team)], []
    folder = settings.team_root / "weights"
    names = sorted(file.name.removesuffix(_ENDING) for file in folder.glob(f"*{_ENDING}"))
    found, troubles = list[TeamWeights](), list[str]()
    for name in names:
        try:
            found.append(_weights(settings, name))
        except Refused as refused:
            troubles.append(f"{name}{_ENDING}: {refused}")
    if not names:
        troubles.append(f"no weights of a team in {folder}: put TEAM{_ENDING} there, or set WEIGHTS_PATH")
    return found, troubles


def _weights(settings: Settings, text: str) -> TeamWeights:
    name = text.strip().lower()
    own = settings.weights_path if settings.team is not None else None
    path = own or settings.team_root / "weights" / f"{name}{_ENDING}"
    folders = AdapterFolders(settings.team_root)
    try:
        team = choose_team(name, read_teams(settings.team_list), folders.teams(), has_weights=True)
    except BadTeams as error:
        raise Refused(str(error)) from None
    code = None if team.adapter is None else folders.file(team.adapter)
    beside = (path.with_suffix(".json"), path.with_name(CONFIG_FILE))
    return TeamWeights(team, path, next((file for file in beside if file.is_file()), None), code)


def import_once(weights: TeamWeights, importer: Importer) -> Imported | None:
    """Import them; None: the newest version has these files. Raises `Refused`, `ImportRefused`."""
    _check(weights.path)
    with _config(weights) as config:
        digest = digest_of_all(weights.path, config)[:12]
        newest = latest_of(importer.home / "models" / weights.team.model)
        if newest is not None and newest.endswith(digest):
            return None
        version = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest}"
        (candidate,) = candidates(weights.path, Wanted(weights.team.model, version, config))
        return importer.run(Candidate(candidate.path, candidate.wanted, named=True))


def stay(settings: Settings, importer: Importer, report: Callable[[Imported], None]) -> None:
    """Import what is there and what changes, until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    watch = TeamWatch(settings, importer, report)
    try:
        while True:
            watch.look()
            time.sleep(_PAUSE)
    except SystemExit:
        logger.info("ended")


def _end(*_signal: object) -> None:
    raise SystemExit


class TeamWatch:
    """Imports weights that two looks have seen alike, and again when they, config or adapter change."""

    def __init__(self, settings: Settings, importer: Importer, report: Callable[[Imported], None]) -> None:
        self._settings = settings
        self._importer = importer
        self._report = report
        self._seen: dict[Path, Signature] = {}
        self._done: dict[Path, Signature] = {}
        self._troubles: list[str] = []

    def look(self) -> None:
        """Look once. What cannot be imported is logged; what may pass is tried again at each look."""
        found, troubles, now = list[TeamWeights](), list[str](), dict[Path, Signature]()
        try:
            found, troubles = all_weights(self._settings)
        except Refused as refused:
            troubles = [str(refused)]
        for weights in found:
            try:
                now[weights.path] = weights.signature()
            except FileNotFoundError as error:
                troubles.append(f"there is nothing at {error.filename}")
                continue
            signature = now[weights.path]
            if self._seen.get(weights.path) == signature != self._done.get(weights.path):
                trouble = self._import(weights, signature)
                troubles += [trouble] if trouble else []
        for trouble in troubles:
            if trouble not in self._troubles:
                logger.warning("waiting: %s", trouble)
        self._seen, self._troubles = now, troubles

    def _import(self, weights: TeamWeights, signature: Signature) -> str | None:
        """Import them; why that may succeed later without a change, if it may."""
        try:
            imported = import_once(weights, self._importer)
        except (ImportUnavailable, OSError) as error:
            return f"{weights.team.name}: {error}"
        except (ImportRefused, Refused) as refused:
            logger.warning("%s; what serves stays", refused)
            imported = None
        self._done[weights.path] = signature
        if imported is not None:
            self._report(imported)
        return None


def _check(path: Path) -> None:
    """Raise `Refused` where there are no weights, or such as cannot be served."""
    other = next((file for file in map(path.with_suffix, _OTHERS) if file.is_file()), None)
    if not path.exists() and other is None:
        raise Refused(f"there are no weights at {path}: mount them there, or set WEIGHTS_PATH")
    found = path if path.exists() else other
    if found is not None and not is_onnx(found.name):
        kind = kind_of(found)
        what = kind.sentence(found.name) if kind else f"{found.name} is not an ONNX model: export it to ONNX"
        raise Refused(f"{what}; then set WEIGHTS_PATH to it")


@contextmanager
def _config(weights: TeamWeights) -> Iterator[Path]:
    """The config to import with: the one beside, that of the team's adapter, or what the graph says."""
    if weights.config is not None:
        yield weights.config
        return
    if weights.team.adapter is not None:
        adapter = {"parameters": {"adapter": weights.team.adapter}}
        text = json.dumps({"task": "custom", "family": "adapter", "output": adapter}, indent=1)
    else:
        text = infer_config(weights.path).text()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG_FILE
        path.write_text(text)
        yield path
