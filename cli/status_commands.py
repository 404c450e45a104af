"""`models`, `status`: what there is and what serves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from cli import addresses
from cli.errors import Refused
from cli.output import mega, say, say_json, settings, short
from cli.view import ModelView, VersionView, views
from hotswap.desired import DesiredState
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from settings import Settings
from workers.run_folder import RunFolder, WorkerState

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"serving": "green", "available": "", "unservable": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that can be seen from the command line."""

    store_read: bool
    up: bool
    desired: DesiredState
    workers: list[WorkerState]
    models: list[ModelView]


def look(configured: Settings) -> Overview:
    """Look at store, desired state and run folder; none of them is changed."""
    run = RunFolder(configured.home)
    sights = ModelStore(configured.models).look()
    desired, workers, up = DesiredFile(configured.home).read(), run.worker_states(), run.is_up()
    return Overview(sights is not None, up, desired, workers, views(sights or {}, desired, workers, up))


@click.command("models")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--json", "as_json", is_flag=True, help="For programs; the shape of GET /models.")
def models_command(names: tuple[str, ...], as_json: bool) -> None:
    """List versions: states, digests, sizes, which serves, and why the others do not.

    \b
    Examples:
      okawari models
      okawari models detector --json
    """
    configured = settings()
    seen = look(configured)
    found = [model for model in seen.models if not names or model.name in names]
    if missing := set(names) - {model.name for model in found}:
        raise Refused(f"there is no model {', '.join(sorted(missing))}")
    if as_json:
        say_json(_document(seen, found))
    elif found:
        _print(_table(found), found)
    else:
        where = configured.models
        say(f"{where} is empty" if seen.store_read else f"there is no store at {where} that can be read")
        say("`okawari init` brings the demo models, `okawari import PATH` yours")


def _document(seen: Overview, found: list[ModelView]) -> dict[str, Any]:
    models = [asdict(model) for model in found]
    for version in (version for model in models for version in model["versions"]):
        del version["note"]
    return {"up": seen.up, "default": seen.desired.default, "models": models}


def _table(found: list[ModelView]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("MODEL", "VERSION", "STATE", "DIGEST", "SIZE", "CREATED", "NOTE"):
        table.add_column(
            name, no_wrap=name != "NOTE", overflow="fold", justify="right" if name == "SIZE" else "left"
        )
    for model in found:
        for version in model.versions:
            table.add_row(*_row(model, version), style=_COLOURS.get(version.state, "cyan"))
    return table


def _row(model: ModelView, version: VersionView) -> tuple[str, ...]:
    from rich.markup import escape

    created = f"{version.created:%Y-%m-%d %H:%M}" if version.created else "-"
    size = mega(version.size_bytes)
    state = version.state
    return model.name, version.version, state, short(version.digest), size, created, escape(version.note)


def _print(table: Table, found: list[ModelView]) -> None:
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        say(_plain(table))
    for model in found:
        if model.reason is not None:
            say(f"{model.name}: {model.reason}")


def _plain(table: Table) -> str:
    """The table where there is no terminal: without colours, every row one line."""
    from rich.console import Console

    console = Console(width=100_000, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status_command(as_json: bool) -> None:
    """Say whether the service runs, at which addresses it is asked, and what it serves.

    \b
    Examples:
      okawari status
      okawari status --json
    """
    configured = settings()
    seen = look(configured)
    document = _status(configured, seen)
    if as_json:
        say_json(document)
    else:
        _say_status(document)


def _status(configured: Settings, seen: Overview) -> dict[str, Any]:
    return {
        "up": seen.up,
        "pid": RunFolder(configured.home).pid() if seen.up else None,
        "home": configured.home,
        "store": configured.models,
        "default": seen.desired.default,
        "http": addresses.http(seen.workers),
        "grpc": addresses.grpc(seen.workers),
        "workers": [_worker(worker) for worker in seen.workers],
        "models": {
            model.name: {
                "target": model.target,
                "serving": model.serving,
                "generation": model.generation,
                "last_good": wish.last_good if (wish := seen.desired.models.get(model.name)) else None,
            }
            for model in seen.models
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
    for line in addresses.told(document["http"], document["grpc"]):
        say(line)
    for worker in document["workers"]:
        ready = "ready" if worker["ready"] else "not ready"
        serving = ", ".join(f"{name}:{version}" for name, version in worker["serving"].items())
        say(f"worker   {worker['pid']} {worker['address'] or '-'} {ready}: {serving or 'serves nothing'}")
    for name, model in document["models"].items():
        say(f"model    {name} -> {model['target'] or 'not wanted'}, last served {model['last_good'] or '-'}")
