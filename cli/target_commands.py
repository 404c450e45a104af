"""`pin`, `follow`, `reload`: what shall serve. They edit the same desired state as the API."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from cli.arguments import sight_of, version_of
from cli.errors import Refused
from cli.output import note, say, settings
from cli.swap_wait import SwapFailed, SwapWatch
from hotswap.control import check_not_superseded
from hotswap.desired import DesiredModel, DesiredState, Edit, put_back, set_target
from hotswap.errors import StateUnavailable, Superseded
from hotswap.repository import resolve
from hotswap.tags import LATEST
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from workers.run_folder import RunFolder

_TIMEOUT = click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(min=0), help="Seconds to wait for it."
)
_REASON = click.option("--reason", help="Kept with the change, for whoever asks why.")


@click.command("pin")
@click.argument("name")
@click.argument("version")
@_REASON
@_TIMEOUT
def pin_command(name: str, version: str, reason: str | None, timeout: float) -> None:
    """Let one version answer, whatever else is imported.

    While the service is up it waits for the swap; no request fails meanwhile. A version that turns out
    to be unusable is refused, and what was wished before is put back.

    \b
    Examples:
      okawari pin detector v6
      okawari pin detector 6 --reason "v7 misses the gate"
    """
    configured = settings()
    sight = sight_of(ModelStore(configured.models), name)
    tag = version_of(sight, version)
    if why := sight.versions[tag.version].reason:
        raise Refused(f"{tag} cannot be served: {why}")
    change = _Change(configured.home, name, tag.version, tag.version)
    say(change.make(reason, timeout))


@click.command("follow")
@click.argument("name")
@click.argument("target", type=click.Choice([LATEST]))
@_REASON
@_TIMEOUT
def follow_command(name: str, target: str, reason: str | None, timeout: float) -> None:
    """Let the newest version answer, now and after every import.

    \b
    Example:
      okawari follow detector latest
    """
    configured = settings()
    resolved = resolve(target, sight_of(ModelStore(configured.models), name))
    if resolved.version is None:
        raise Refused(f"{name}: {resolved.reason}")
    change = _Change(configured.home, name, target, resolved.version)
    say(change.make(reason, timeout))


class _Change:
    """One change of a model's target; `version` is what the target means now."""

    def __init__(self, home: Path, name: str, target: str, version: str) -> None:
        self._state = DesiredFile(home)
        self._run = RunFolder(home)
        self._name = name
        self._target = target
        self._version = version
        self._before: DesiredModel | None = None

    def make(self, reason: str | None, timeout: float) -> str:
        """Write the wish and wait until it is so; return what to say, or raise `Refused`."""
        wish = self._state.edit(self._edit(reason)).models[self._name]
        told = (
            f"{self._name} follows {self._target}"
            if self._target == LATEST
            else f"{self._name} is pinned to {self._version}"
        )
        if not self._run.is_up():
            return f"{told}; the service is down and will serve it when it starts"
        try:
            watch = SwapWatch(self._run, timeout)
            up = watch.until_serving(self._name, self._version, lambda: self._check(wish))
        except SwapFailed as failed:
            self._state.edit(put_back(self._name, self._before, wish.revision))
            raise Refused(
                f"{self._name}:{self._version} was refused and the target put back: {failed}"
            ) from None
        return f"{told}; {self._version} serves" if up else f"{told}; the service ended meanwhile"

    def _check(self, wish: DesiredModel) -> None:
        """Raise `Refused` when somebody wishes something else by now."""
        try:
            check_not_superseded(self._name, wish, self._state.read().models.get(self._name))
        except StateUnavailable:
            return  # the service goes on without it, and so can the waiting
        except Superseded as overtaken:
            raise Refused(overtaken.message) from None

    def _edit(self, reason: str | None) -> Edit:
        change = set_target(self._name, self._target, f"cli:{_user()}", reason)

        def edit(document: DesiredState) -> DesiredState:
            self._before = document.models.get(self._name)
            return change(document)

        return edit


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return str(os.getuid())


@click.command("reload")
@_TIMEOUT
def reload_command(timeout: float) -> None:
    """Let the service look at the store again now, and try again what failed.

    It looks twice a second by itself; this only clears the waiting after failures. With the service
    down there is nothing to do, and that is no error.

    \b
    Example:
      okawari reload
    """
    run = RunFolder(settings().home)
    if not run.is_up():
        note("the service is down; it looks at the store when it starts")
        return
    say(
        "every worker has looked again"
        if SwapWatch(run, timeout).until_looked()
        else "the service ended meanwhile"
    )
