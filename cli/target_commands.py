"""`pin`, `follow`, `reload`: edit the desired state, the same as the API's, and wait for the swap."""

from __future__ import annotations

from pathlib import Path

import click

from cli.arguments import stored_model, version_of
from cli.errors import Refused
from cli.output import note, say, settings
from cli.recording import actor
from cli.swap_wait import SwapFailed, SwapWatch
from hotswap.control import check_not_superseded
from hotswap.desired import DesiredModel, DesiredState, Edit, put_back, set_target
from hotswap.errors import StateUnavailable, Superseded
from hotswap.repository import resolve
from hotswap.tags import LATEST
from models_import.store import ModelStore
from registry.audit_trail import AuditedDesired, trail_of
from registry.file_store import DesiredFile
from workers.run_folder import RunFolder

_TIMEOUT = click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds to wait for the workers.",
)
_REASON = click.option("--reason", help="Reason, stored with the change.")


@click.command("pin")
@click.argument("name")
@click.argument("version")
@_REASON
@_TIMEOUT
def pin_command(name: str, version: str, reason: str | None, timeout: float) -> None:
    """Pin a model to one version.

    The version is served until another pin or follow, whatever is imported. While the service is up,
    the command waits for the swap; no request fails meanwhile. If the version cannot be loaded, the
    command fails and restores the previous target.

    \b
    Examples:
      okawari pin detector v6
      okawari pin detector 6 --reason "v7 misses the gate"
    """
    configured = settings()
    model = stored_model(ModelStore(configured.models), name)
    tag = version_of(model, version)
    if reason_against := model.versions[tag.version].reason:
        raise Refused(f"{tag} cannot be served: {reason_against}")
    change = _Change(configured.home, name, tag.version, tag.version)
    say(change.make(reason, timeout))


@click.command("follow")
@click.argument("name")
@click.argument("target", type=click.Choice([LATEST]))
@_REASON
@_TIMEOUT
def follow_command(name: str, target: str, reason: str | None, timeout: float) -> None:
    """Always serve the latest version, now and after every import.

    \b
    Example:
      okawari follow detector latest
    """
    configured = settings()
    resolved = resolve(target, stored_model(ModelStore(configured.models), name))
    if resolved.version is None:
        raise Refused(f"{name}: {resolved.reason}")
    change = _Change(configured.home, name, target, resolved.version)
    say(change.make(reason, timeout))


class _Change:
    """One change of a model's target; `version` is what the target resolves to now."""

    def __init__(self, home: Path, name: str, target: str, version: str) -> None:
        self._state = AuditedDesired(DesiredFile(home), trail_of(home).add)
        self._run = RunFolder(home)
        self._name = name
        self._target = target
        self._version = version
        self._before: DesiredModel | None = None

    def make(self, reason: str | None, timeout: float) -> str:
        """Write the new target and wait until it serves; return a message, or raise `Refused`."""
        desired = self._state.edit(self._edit(reason)).models[self._name]
        change = (
            f"{self._name} follows {self._target}"
            if self._target == LATEST
            else f"{self._name} is pinned to {self._version}"
        )
        if not self._run.is_up():
            return f"{change}; the service is down and will serve it when it starts"
        try:
            watch = SwapWatch(self._run, timeout)
            up = watch.until_serving(self._name, self._version, lambda: self._check(desired))
        except SwapFailed as failed:
            self._state.edit(put_back(self._name, self._before, desired.revision))
            raise Refused(
                f"{self._name}:{self._version} failed and the previous target was restored: {failed}"
            ) from None
        return f"{change}; {self._version} is serving" if up else f"{change}; the service stopped meanwhile"

    def _check(self, desired: DesiredModel) -> None:
        """Raise `Refused` when the target has been changed again meanwhile."""
        try:
            check_not_superseded(self._name, desired, self._state.read().models.get(self._name))
        except StateUnavailable:
            return  # the service keeps running without the file, so the wait continues
        except Superseded as superseded:
            raise Refused(superseded.message) from None

    def _edit(self, reason: str | None) -> Edit:
        change = set_target(self._name, self._target, actor(), reason)

        def edit(document: DesiredState) -> DesiredState:
            self._before = document.models.get(self._name)
            return change(document)

        return edit


@click.command("reload")
@_TIMEOUT
def reload_command(timeout: float) -> None:
    """Rescan the store now and retry failed versions.

    The service rescans twice a second by itself; this command clears the retry delay of failed versions.
    With the service down it does nothing, with exit code 0.

    \b
    Example:
      okawari reload
    """
    run = RunFolder(settings().home)
    if not run.is_up():
        note("the service is down; it scans the store when it starts")
        return
    say(
        "every worker has rescanned the store"
        if SwapWatch(run, timeout).until_looked()
        else "the service stopped meanwhile"
    )
