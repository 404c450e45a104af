"""`gate`, `sign`: what the gate found about versions, and the signatures that it may ask for."""

from __future__ import annotations

from pathlib import Path

import click

from cli.arguments import VERSION_ARGUMENTS, one_version
from cli.audit_records import actor
from cli.errors import Refused
from cli.output import note, say, say_json, settings
from hotswap.repository import Artifact
from models_import.store import ModelStore
from registry.gate_report import GateReport, report
from registry.signatures import SignatureFiles, sign
from registry.verdict_files import VerdictFiles
from settings import Settings
from workers.run_folder import RunFolder

_CHECKS = ("contract", "answers", "golden pictures", "metamorphic", "agreement", "latency", "guard")


@click.command("gate")
@VERSION_ARGUMENTS
@click.option("--again", is_flag=True, help="Forget the verdict and let the service judge the version anew.")
@click.option(
    "--allow",
    type=click.Choice(_CHECKS),
    multiple=True,
    help="Accept that this check fails for these files, and try them anew.",
)
@click.option("--refuse", metavar="REASON", help="Take the version back if it is watched, and refuse it.")
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
def gate_command(
    name: str, version: str, *, again: bool, allow: tuple[str, ...], refuse: str | None, as_json: bool
) -> None:
    """Show what the gate found about a version; let it be judged anew.

    A version is judged once, when it is loaded for the first time: against the contract of the version that
    answers then, on golden pictures, and by its latency. Where one fails and the policy is `enforce`, the
    version does not answer, and is not loaded again until somebody asks. What has answered before is never
    refused.

    \b
    Examples:
      okawari gate detector v7
      okawari gate detector v7 --again
      okawari gate detector v7 --allow contract      # its labels were changed on purpose
      okawari gate detector v7 --allow guard         # it is good, though it answers otherwise than v6
      okawari gate detector v7 --refuse "misses cars at night"
    """
    if refuse is not None and (again or allow):
        raise click.UsageError("--refuse goes with neither --again nor --allow")
    configured = settings()
    artifact = settled_version(configured, name, version)
    files = VerdictFiles(configured.home)
    if refuse is not None:
        _refuse(configured, files, artifact, refuse)
        return
    if again or allow:
        _retry(configured, files, artifact, allow)
        return
    found = _report(configured, files, artifact)
    if as_json:
        say_json(found.document())
    elif found.result is None:
        said = "has answered before: it is not judged" if found.served else "was not judged yet"
        say(f"{artifact.tag} {said}")
    else:
        _say(found)
    if found.refused is not None:
        raise SystemExit(1)


def _report(configured: Settings, files: VerdictFiles, artifact: Artifact) -> GateReport:
    """What was written down of a version, and what the workers say of it now."""
    tag, digest = artifact.tag, artifact.digest
    reasons = (
        each.reason
        for worker in RunFolder(configured.home).worker_states()
        if tag.name in worker.models
        for each in worker.models[tag.name].generations
        if each.version == tag.version and each.reason is not None
    )
    served = files.has_served(digest)
    return report(tag, digest, files.read(digest), served=served, state_reason=next(reasons, None))


def settled_version(configured: Settings, name: str, version: str) -> Artifact:
    """A version of the store whose files are whole. Raises `Refused`."""
    store = ModelStore(configured.models)
    settled = store.settle(one_version(store, name, version))
    if not isinstance(settled, Artifact):
        raise Refused(f"{name} {version}: {settled.reason}")
    return settled


def _retry(configured: Settings, files: VerdictFiles, artifact: Artifact, allow: tuple[str, ...]) -> None:
    files.judge_again(artifact.tag, artifact.digest, allow)
    run = RunFolder(configured.home)
    if run.is_up():
        run.ask_reload()
        say(f"{artifact.tag} is judged anew; okawari models {artifact.tag.name} shows what comes of it")
    else:
        say(f"{artifact.tag} is judged anew at the next start of the service")


def _refuse(configured: Settings, files: VerdictFiles, artifact: Artifact, reason: str) -> None:
    files.refuse(artifact.tag, artifact.digest, actor(), reason)
    run = RunFolder(configured.home)
    if run.is_up():
        run.ask_reload()
        say(f"{artifact.tag} is refused; where it is watched, the version before answers again")
        note(f"where it is not, okawari rollback {artifact.tag.name} goes back")
    else:
        say(f"{artifact.tag} is refused from the next start of the service on")


def _say(found: GateReport) -> None:
    beside = f" beside {found.compared}" if found.compared else ""
    policy = f" (policy {found.policy}" if found.policy else " ("
    moment = "not loaded" if found.judged is None else f"{found.judged:%Y-%m-%d %H:%M:%S} UTC"
    say(f"{found.tag}: {found.result}{beside}{policy}{', ' if found.policy else ''}{moment})")
    for name, verdict in found.verdicts.items():
        allowed = " (allowed)" if name in found.allowed else ""
        say(f"  {name}: {verdict.result}{allowed}: {verdict.reason}")
    if found.refused is not None:
        note(f"{found.tag} may not answer; okawari gate {found.tag.name} {found.tag.version} --again")


@click.command("sign")
@VERSION_ARGUMENTS
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key in PEM: NIST P-256, P-384 or P-521.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the bundle there, for another home."
)
def sign_command(name: str, version: str, *, key: Path, out: Path | None) -> None:
    """Sign a version of the store with a private key: a bundle as OpenSSF model-signing makes it.

    The bundle is kept beside the store, as a version never changes; as `model.sig` in the folder that is
    imported it goes with the version. A service with OKAWARI_REQUIRE_SIGNATURE serves what one of its keys
    has signed, and nothing else.

    \b
    Examples:
      openssl ecparam -name prime256v1 -genkey -noout -out key.pem
      openssl ec -in key.pem -pubout -out key.pub
      okawari sign detector v7 --key key.pem
    """
    configured = settings()
    artifact = settled_version(configured, name, version)
    bundle = out or SignatureFiles(configured.home).path(artifact.digest)
    sign(artifact.path, key, bundle)
    say(f"{artifact.tag} is signed: {bundle}")
    run = RunFolder(configured.home)
    if out is None and run.is_up():
        run.ask_reload()
