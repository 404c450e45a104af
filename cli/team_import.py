"""`import --team`: weights of teams become versions: of the one that TEAM names, or of all."""

from __future__ import annotations

import hashlib
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
from models_import.errors import ImportRefused
from models_import.file_kinds import is_onnx, kind_of
from models_import.importer import Imported, Importer
from models_import.inferred_config import infer_config
from models_import.pointer import latest_of
from runners.teams import AdapterFolders
from settings import Settings

logger = logging.getLogger("okawari.team")

_BLOCK = 1 << 20
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

    def signature(self) -> Signature:
        """Changes with the files. Raises `OSError`."""
        files = [self.path, *([self.config] if self.config else [])]
        status = [(file, file.stat()) for file in files]
        return tuple((str(file), each.st_mtime_ns, each.st_size) for file, each in status)


def all_weights(settings: Settings) -> list[TeamWeights]:
    """Where the weights are: of the team that TEAM names, else of all in `weights/` of the team root.

    Raises `Refused` for an unknown team, and where there are none.
    """
    if settings.team is not None:
        return [_weights(settings, settings.team)]
    folder = settings.team_root / "weights"
    names = sorted(file.name.removesuffix(_ENDING) for file in folder.glob(f"*{_ENDING}"))
    if not names:
        raise Refused(f"no weights of a team in {folder}: put TEAM{_ENDING} there, or set WEIGHTS_PATH")
    return [_weights(settings, name) for name in names]


def _weights(settings: Settings, text: str) -> TeamWeights:
    name = text.strip().lower()
    own = settings.weights_path if settings.team is not None else None
    path = own or settings.team_root / "weights" / f"{name}{_ENDING}"
    adapters = AdapterFolders(settings.team_root).teams()
    try:
        team = choose_team(name, read_teams(settings.team_list), adapters, has_weights=True)
    except BadTeams as error:
        raise Refused(str(error)) from None
    beside = (path.with_suffix(".json"), path.with_name(CONFIG_FILE))
    return TeamWeights(team, path, next((file for file in beside if file.is_file()), None))


def import_once(weights: TeamWeights, importer: Importer) -> Imported | None:
    """Import them; None: the newest version has these files. Raises `Refused`, `ImportRefused`."""
    _check(weights.path)
    with _config(weights) as config:
        digest = _digest(weights.path, config)[:12]
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
    seen: dict[Path, Signature] = {}
    done: dict[Path, Signature] = {}
    waiting = ""
    try:
        while True:
            missing, now = "", dict[Path, Signature]()
            try:
                found = all_weights(settings)
            except Refused as refused:
                missing, found = str(refused), []
            for weights in found:
                try:
                    now[weights.path] = weights.signature()
                except FileNotFoundError:
                    missing = f"there are no weights at {weights.path}"
                    continue
                signature = now[weights.path]
                if seen.get(weights.path) == signature != done.get(weights.path):
                    done[weights.path] = signature
                    _try(weights, importer, report)
            if missing and missing != waiting:
                logger.info("waiting: %s", missing)
            seen, waiting = now, missing
            time.sleep(_PAUSE)
    except SystemExit:
        logger.info("ended")


def _end(*_signal: object) -> None:
    raise SystemExit


def _try(weights: TeamWeights, importer: Importer, report: Callable[[Imported], None]) -> None:
    try:
        imported = import_once(weights, importer)
    except (ImportRefused, Refused, OSError) as error:
        logger.warning("%s; what serves stays", error)
        return
    if imported is not None:
        report(imported)


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


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    return found.hexdigest()
