"""`load`, `unload`, `warmup`: management calls to the running service, over HTTP."""

from __future__ import annotations

import os
import statistics
from contextlib import closing
from typing import Any
from urllib.parse import quote

import click

from cli.arguments import Command
from cli.client import connect, manage, service_url
from cli.errors import Refused
from cli.output import say, say_json, settings
from cli.swap_wait import spinner
from workers.run_folder import RunFolder

_MOST_SAMPLES = 1_000


def _service_options(command: Command) -> Command:
    for option in (
        click.option("--url", help="URL of the service. Default: the service of this home."),
        click.option("--json", "as_json", is_flag=True, help="JSON output: the service's answer."),
    ):
        command = option(command)
    return command


@click.command("load")
@click.argument("name")
@_service_options
def load_command(name: str, url: str | None, as_json: bool) -> None:
    """Load a model into memory, also after an unload.

    What its target means is loaded, and the command waits until it is serving. The service must be up;
    OKAWARI_ADMIN_TOKEN is sent if it is set.

    \b
    Examples:
      okawari load detector
      okawari load detector --url http://camera-7:3000
    """
    status, model = _call("POST", f"/models/{quote(name, safe='')}/load", url)
    if status == 202:
        raise Refused(f"{name} is still loading, which goes on; `okawari models` shows when it is serving")
    say_json(model) if as_json else say(f"{name}: {model['serving']} is serving")


@click.command("unload")
@click.argument("name")
@_service_options
def unload_command(name: str, url: str | None, as_json: bool) -> None:
    """Unload a model from memory; its files stay.

    Requests under way are answered. Later ones are refused until it is loaded again or gets a target; no
    request loads it, and no restart.

    \b
    Example:
      okawari unload detector
    """
    status, model = _call("DELETE", f"/models/{quote(name, safe='')}", url)
    if status == 202:
        raise Refused(f"{name} is still serving; it will be unloaded, `okawari models` shows when")
    say_json(model) if as_json else say(f"{name} is unloaded; `okawari load {name}` loads it again")


@click.command("warmup")
@click.argument("name")
@click.option(
    "--samples",
    type=click.IntRange(1, _MOST_SAMPLES),
    default=10,
    show_default=True,
    help="Number of inferences.",
)
@_service_options
def warmup_command(name: str, samples: int, url: str | None, as_json: bool) -> None:
    """Run a model on the pictures that it is checked on.

    The serving version answers, in the worker that takes the call; other requests are answered in between.

    \b
    Examples:
      okawari warmup detector
      okawari warmup detector --samples 100 --json
    """
    _, report = _call("POST", f"/models/{quote(name, safe='')}/warmup", url, samples=samples)
    if as_json:
        say_json(report)
        return
    latencies = report["latencies_ms"]
    say(
        f"{report['model']}:{report['version']}: {report['samples']} samples in "
        f"{report['warmup_time_ms']:.0f} ms; first {latencies[0]:.1f} ms, median "
        f"{statistics.median(latencies):.1f} ms, slowest {max(latencies):.1f} ms"
    )


def _call(method: str, path: str, url: str | None, **query: int) -> tuple[int, Any]:
    configured = settings()
    place = url or service_url(RunFolder(configured.home))
    with closing(connect(place, own=url is None)) as client, spinner():
        token = os.environ.get("OKAWARI_TOKEN") or configured.admin_token
        return manage(client, method, path, token, query)
