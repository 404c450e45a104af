"""`models`, `status`: the versions of the store, the workers, and what they serve."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from cli import addresses
from cli.errors import Refused
from cli.output import mega, note, say, say_json, settings, short
from cli.view import ModelView, VersionView, views
from hotswap.desired import DesiredState
from manifest.tags import ModelTag
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from registry.model_list import BadModelList
from registry.model_list_file import ModelListFile
from settings import Settings
from workers.run_folder import RunFolder, WorkerState

if TYPE_CHECKING:
    from rich.table import Table

    from registry.verdict_files import VerdictFiles

_COLOURS = {"serving": "green", "available": "", "unservable": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of store, desired state and workers at one moment."""

    store_read: bool
    up: bool
    desired: DesiredState
    workers: list[WorkerState]
    models: list[ModelView]


def look(configured: Settings) -> Overview:
    """Read store, desired state and run folder; none of them is changed."""
    run = RunFolder(configured.home)
    stored = ModelStore(configured.models).look()
    desired, workers, up = DesiredFile(configured.home).read(), run.worker_states(), run.is_up()
    models = views(stored or {}, desired, workers, up, _declared(configured))
    return Overview(stored is not None, up, desired, workers, models)


def _declared(configured: Settings) -> Collection[str]:
    """The models of the list of models; none, with a note, where it cannot be used."""
    file = ModelListFile(configured.model_registry)
    try:
        file.read()
    except BadModelList as error:
        note(f"okawari: warning: {error}")
    return file()


@click.command("models")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--json", "as_json", is_flag=True, help="JSON output, shaped like GET /models.")
def models_command(names: tuple[str, ...], as_json: bool) -> None:
    """List versions: state, digest, size, and why a version is not serving.

    \b
    Examples:
      okawari models
      okawari models detector --json
    """
    configured = settings()
    overview = look(configured)
    models = [model for model in overview.models if not names or model.name in names]
    if missing := set(names) - {model.name for model in models}:
        raise Refused(f"there is no model {', '.join(sorted(missing))}")
    if as_json:
        say_json(_document(configured, overview, models))
    elif models:
        _print(_table(models), models)
    else:
        where = configured.models
        say(f"{where} is empty" if overview.store_read else f"there is no readable store at {where}")
        say("install the demo models with `okawari init`, or your own with `okawari import PATH`")


def _document(configured: Settings, overview: Overview, models: list[ModelView]) -> dict[str, Any]:
    from registry.verdict_files import VerdictFiles

    verdicts = VerdictFiles(configured.home)
    documents = [asdict(model) for model in models]
    for document in documents:
        for version in document["versions"]:
            del version["note"]
            version["gate"] = _gate(document["name"], version, verdicts)
    return {"up": overview.up, "default": overview.desired.default, "models": documents}


def _gate(name: str, version: dict[str, Any], verdicts: VerdictFiles) -> dict[str, Any] | None:
    """What the gate found about a version; None where it was not judged."""
    from registry.gate_report import report

    digest = version["digest"]
    record = verdicts.read(digest) if digest is not None else None
    tag = ModelTag(name, version["version"])
    found = report(tag, digest, record, state_reason=version["reason"])
    return None if found.result is None else {"result": found.result, "reason": found.reason}


def _table(models: list[ModelView]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("MODEL", "VERSION", "STATE", "DIGEST", "SIZE", "CREATED", "NOTE"):
        table.add_column(
            name, no_wrap=name != "NOTE", overflow="fold", justify="right" if name == "SIZE" else "left"
        )
    for model in models:
        if model.missing:
            table.add_row(
                model.name, "-", "missing", "-", "-", "-", escape(model.reason or ""), style="yellow"
            )
        for version in model.versions:
            table.add_row(*_row(model, version), style=_COLOURS.get(version.state, "cyan"))
    return table


def _row(model: ModelView, version: VersionView) -> tuple[str, ...]:
    from rich.markup import escape

    created = f"{version.created:%Y-%m-%d %H:%M}" if version.created else "-"
    size = mega(version.size_bytes)
    state = version.state
    return model.name, version.version, state, short(version.digest), size, created, escape(version.note)


def _print(table: Table, models: list[ModelView]) -> None:
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        say(_plain(table))
    for model in models:
        if model.reason is not None and not model.missing:
            say(f"{model.name}: {model.reason}")


def _plain(table: Table) -> str:
    """The table without a terminal: no colours, one line per row."""
    from rich.console import Console

    console = Console(width=100_000, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
def status_command(as_json: bool) -> None:
    """Show whether the service is up, its addresses and what it serves.

    \b
    Examples:
      okawari status
      okawari status --json
    """
    configured = settings()
    document = _status(configured, look(configured))
    if as_json:
        say_json(document)
    else:
        _say_status(document)


def _status(configured: Settings, overview: Overview) -> dict[str, Any]:
    wanted = overview.desired.models
    return {
        "up": overview.up,
        "pid": RunFolder(configured.home).pid() if overview.up else None,
        "home": configured.home,
        "store": configured.models,
        "default": overview.desired.default,
        "http": addresses.http(overview.workers),
        "grpc": addresses.grpc(overview.workers),
        "workers": [_worker(worker) for worker in overview.workers],
        "models": {
            model.name: {
                "target": model.target,
                "serving": model.serving,
                "generation": model.generation,
                "last_good": desired.last_good if (desired := wanted.get(model.name)) else None,
            }
            for model in overview.models
        },
    }


def _worker(worker: WorkerState) -> dict[str, Any]:
    return {
        "pid": worker.pid,
        "address": addresses.joined(worker.host or "", worker.port) if worker.port else None,
        "ready": worker.ready,
        "serving": {name: state.serving for name, state in worker.models.items() if state.serving},
    }


def _say_status(document: dict[str, Any]) -> None:
    say(f"up, pid {document['pid']}" if document["up"] else "down")
    say(f"home     {document['home']}")
    say(f"store    {document['store']}")
    say(f"default  {document['default'] or '-'}")
    for line in addresses.lines(document["http"], document["grpc"]):
        say(line)
    for worker in document["workers"]:
        ready = "ready" if worker["ready"] else "not ready"
        serving = ", ".join(f"{name}:{version}" for name, version in worker["serving"].items())
        say(f"worker   {worker['pid']} {worker['address'] or '-'} {ready}: {serving or 'no model'}")
    for name, model in document["models"].items():
        say(
            f"model    {name} -> {model['target'] or 'not selected'}, last served {model['last_good'] or '-'}"
        )
