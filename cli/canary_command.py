"""`canary`: let a version answer a share of the requests, beside the one that the target means."""

from __future__ import annotations

import re
from functools import partial

import click

from adapters.registries import open_audit, open_registry, production
from cli.arguments import REASON, TIMEOUT, stored_model, version_of
from cli.audit_records import actor
from cli.errors import Refused
from cli.output import say, settings
from cli.swap_wait import SwapFailed, SwapWatch
from hotswap.desired import CanaryTarget, DesiredModel, put_back, set_canary
from hotswap.repository import resolve
from manifest.tags import ModelTag
from models_import.store import ModelStore
from registry.audit_trail import AuditedDesired
from registry.file_store import DesiredFile
from registry.registered_models import RegisteredModels
from settings import Settings
from workers.run_folder import RunFolder

_SHARE = re.compile(r"([0-9.]+)\s*(%?)")


class _Share(click.ParamType[float]):
    """5% or 0.05; between nothing and everything."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        found = _SHARE.fullmatch(str(value).strip())
        try:
            share = float(found[1]) / (100 if found[2] else 1) if found else 0.0
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r}: write 5% or 0.05, more than nothing and less than everything", param, ctx)
        return share


@click.command("canary")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--share", type=_Share(), help="The part of the requests, such as 5%.")
@click.option("--end", is_flag=True, help="Let the target answer alone again.")
@REASON
@TIMEOUT
def canary_command(
    name: str, version: str | None, share: float | None, *, end: bool, reason: str | None, timeout: float
) -> None:
    """Let a version answer a share of the requests, beside the version that the target means.

    Requests with the same X-Route-Key, and pictures of one camera, get the same version. The guard watches
    the version all the time; a bad one answers no more. `okawari promote` or `pin` completes the trial.

    \b
    Examples:
      okawari canary detector v7 --share 5%
      okawari canary detector v7 --share 50%
      okawari canary detector --end
    """
    if end == (version is not None) or (version is None) != (share is None):
        raise click.UsageError("give VERSION and --share, or --end")
    configured = settings()
    state, run = _audited(configured), RunFolder(configured.home)
    if version is None or share is None:
        known = state.read().models.get(name)
        if known is None or known.canary is None:
            raise Refused(f"{name} has no canary")
        state.edit(set_canary(name, None, actor(), reason or "the trial has ended"))
        up = run.is_up() and SwapWatch(run, timeout).until_looked()
        say(f"the target of {name} answers alone" + ("" if up else "; the service is down"))
        return
    tag = _candidate(configured, name, version, state.read().model(name) or DesiredModel())
    before = state.read().models.get(name)
    canary = CanaryTarget(version=tag.version, share=share)
    made = state.edit(set_canary(name, canary, actor(), reason)).models[name]
    said = f"{tag} gets {share:.4g} of the requests"
    if not run.is_up():
        say(f"{said}; the service is down and will do so when it starts")
        return
    try:
        SwapWatch(run, timeout).until_answering(name, tag.version)
    except SwapFailed as failed:
        state.edit(put_back(name, before, made.revision))
        raise Refused(f"{tag} failed, the target answers alone: {failed}") from None
    say(said)


def _audited(configured: Settings) -> AuditedDesired:
    home, where = configured.home, configured.registry_location
    return AuditedDesired(DesiredFile(home), open_audit(where, home).trail().add, partial(production, where))


def _candidate(configured: Settings, name: str, version: str, model: DesiredModel) -> ModelTag:
    models = RegisteredModels(ModelStore(configured.models), open_registry(configured.registry_location))
    info = stored_model(models, name, configured.models)
    tag = version_of(info, version)
    if reason := info.versions[tag.version].reason:
        raise Refused(f"{tag} cannot be served: {reason}")
    if resolve(model.target, info).version == tag.version:
        raise Refused(f"{tag} is what the target {model.target} means; pin {name} to another version first")
    return tag
