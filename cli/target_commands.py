"""`pin`, `follow`, `reload`: edit the desired state, the same as the API's, and wait for the swap."""

from __future__ import annotations

import click

from adapters.registries import open_registry
from cli.arguments import REASON, TIMEOUT, stored_model, version_of
from cli.errors import Refused
from cli.output import note, say, settings
from cli.swap_wait import SwapWatch
from cli.target_edit import TargetEdit
from hotswap.repository import resolve
from manifest.tags import LATEST, alias_of, as_target
from models_import.store import ModelStore
from registry.registered_models import RegisteredModels
from workers.run_folder import RunFolder


@click.command("pin")
@click.argument("name")
@click.argument("version")
@REASON
@TIMEOUT
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
    model = stored_model(ModelStore(configured.models), name, configured.models)
    tag = version_of(model, version)
    if reason_against := model.versions[tag.version].reason:
        raise Refused(f"{tag} cannot be served: {reason_against}")
    change = TargetEdit(configured, name, tag.version, tag.version)
    say(change.make(reason, timeout))


@click.command("follow")
@click.argument("name")
@click.argument("target")
@REASON
@TIMEOUT
def follow_command(name: str, target: str, reason: str | None, timeout: float) -> None:
    """Follow latest, or an alias of the registry such as @production.

    `latest` serves the latest version, now and after every import. `@production` serves the version
    that was promoted last, whatever is imported.

    \b
    Examples:
      okawari follow detector latest
      okawari follow detector @production
    """
    configured = settings()
    wanted = as_target(target)
    if wanted != LATEST and alias_of(wanted) is None:
        raise click.UsageError(
            f"follow takes {LATEST} or @ALIAS; `okawari pin {name} {target}` pins to a version"
        )
    models = RegisteredModels(ModelStore(configured.models), open_registry(configured.registry_location))
    resolved = resolve(wanted, stored_model(models, name, configured.models))
    if resolved.version is None:
        raise Refused(f"{name}: {resolved.reason}")
    change = TargetEdit(configured, name, wanted, resolved.version)
    say(change.make(reason, timeout))


@click.command("reload")
@TIMEOUT
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
