"""`gate`, `golden`: what versions have to prove before they may answer, and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.arguments import VERSION_ARGUMENTS, one_version
from cli.audit_records import actor
from cli.errors import Refused
from cli.output import note, say, say_json, settings
from hotswap.gate import GatePolicy, GateRecord, Result, Verdict, taken_back
from hotswap.repository import Artifact
from models_import.store import ModelStore
from registry.golden_files import GoldenFiles
from registry.verdict_files import VerdictFiles
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from manifest.version_manifest import ExpectedObject
    from settings import Settings

_CHECKS = ("contract", "golden pictures", "latency", "guard")


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
    artifact = _artifact(configured, name, version)
    files = VerdictFiles(configured.home)
    if refuse is not None:
        _refuse(configured, files, artifact, refuse)
        return
    if again or allow:
        _retry(configured, files, artifact, allow)
        return
    record = files.read(artifact.digest)
    if record is None or record.judged is None:
        answered = files.has_served(artifact.digest)
        said = "has answered before: it is not judged" if answered else "was not judged yet"
        say_json({"verdict": None, "served": answered}) if as_json else say(f"{artifact.tag} {said}")
        return
    say_json(_document(record)) if as_json else _say(record)
    if record.refusal is not None:
        raise SystemExit(1)


def _artifact(configured: Settings, name: str, version: str) -> Artifact:
    store = ModelStore(configured.models)
    settled = store.settle(one_version(store, name, version))
    if not isinstance(settled, Artifact):
        raise Refused(f"{name} {version}: {settled.reason}")
    return settled


def _retry(configured: Settings, files: VerdictFiles, artifact: Artifact, allow: tuple[str, ...]) -> None:
    known = files.read(artifact.digest)
    allowed = frozenset(allow) | (known.allowed if known is not None else frozenset())
    if allowed:
        files.write(GateRecord(artifact.tag, artifact.digest, GatePolicy.ENFORCE, allowed=allowed))
    else:
        files.forget(artifact.digest)
    run = RunFolder(configured.home)
    if run.is_up():
        run.ask_reload()
        say(f"{artifact.tag} is judged anew; okawari models {artifact.tag.name} shows what comes of it")
    else:
        say(f"{artifact.tag} is judged anew at the next start of the service")


def _refuse(configured: Settings, files: VerdictFiles, artifact: Artifact, reason: str) -> None:
    verdict = Verdict(Result.FAIL, f"refused by {actor()}: {reason}")
    files.write(taken_back(files.read(artifact.digest), artifact, verdict))
    run = RunFolder(configured.home)
    if run.is_up():
        run.ask_reload()
        say(f"{artifact.tag} is refused; where it is watched, the version before answers again")
        note(f"where it is not, okawari rollback {artifact.tag.name} goes back")
    else:
        say(f"{artifact.tag} is refused from the next start of the service on")


def _document(record: GateRecord) -> dict[str, Any]:
    return {
        "model": record.tag.name,
        "version": record.tag.version,
        "digest": record.digest,
        "policy": record.policy,
        "result": record.result,
        "refused": record.refusal,
        "compared": record.compared,
        "judged": record.judged,
        "allowed": sorted(record.allowed),
        "verdicts": {
            name: {"result": each.result, "reason": each.reason, "numbers": dict(each.numbers)}
            for name, each in record.verdicts.items()
        },
    }


def _say(record: GateRecord) -> None:
    beside = f" beside {record.compared}" if record.compared else ""
    moment = "" if record.judged is None else f", {record.judged:%Y-%m-%d %H:%M:%S} UTC"
    say(f"{record.tag}: {record.result}{beside} (policy {record.policy}{moment})")
    for name, verdict in record.verdicts.items():
        allowed = " (allowed)" if name in record.allowed else ""
        say(f"  {name}: {verdict.result}{allowed}: {verdict.reason}")
    if record.refusal is not None:
        note(f"{record.tag} may not answer; okawari gate {record.tag.name} {record.tag.version} --again")


@click.group("golden")
def golden_command() -> None:
    """Hold pictures with what has to be found in them; the gate tries every new version on them.

    \b
    Examples:
      okawari golden record detector v6 pictures/*.jpg     # v6 is trusted: what it finds is expected
      okawari golden list detector
    """


@golden_command.command("record")
@VERSION_ARGUMENTS
@click.argument(
    "pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--score", type=click.FloatRange(0, 1), help="Least score of what is expected. Default: the config's."
)
def record_command(name: str, version: str, pictures: tuple[Path, ...], score: float | None) -> None:
    """Hold PICTURES for a model, with what one of its versions finds in them.

    Look at the answers first (`okawari predict`): what a trusted version finds here, later ones have to find.
    """
    from hotswap.errors import ServingError
    from hotswap.predictions import Options, Picture
    from runners.loader import OnnxLoader

    configured = settings()
    artifact = _artifact(configured, name, version)
    golden = GoldenFiles(configured.home)
    runner = OnnxLoader(max_pixels=configured.max_pixels, thread_cap=1).load(artifact)
    try:
        for path in pictures:
            data = path.read_bytes()
            try:
                found = runner.predict([Picture(encoded=data)], Options(threshold=score)).items[0]
            except ServingError as error:
                raise Refused(f"{path}: {error.message}") from None
            expected = [_expected(each.label, each.bbox, each.score) for each in found.detections]
            golden.add(artifact.tag.name, path.name, data, expected)
            say(f"{path}: {len(expected)} findings are expected")
    finally:
        runner.close()


def _expected(label: str, bbox: tuple[float, float, float, float] | None, score: float) -> ExpectedObject:
    from manifest.version_manifest import ExpectedObject

    def within(value: float) -> float:
        return round(min(1.0, max(0.0, value)), 6)

    left, top, right, bottom = bbox or (0.0, 0.0, 1.0, 1.0)
    box = None if bbox is None else (within(left), within(top), within(right), within(bottom))
    return ExpectedObject(label=label, bbox=box, score=within(score))


@golden_command.command("list")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
def list_command(name: str, *, as_json: bool) -> None:
    """List the pictures that are held for a model."""
    held = GoldenFiles(settings().home).held(name)
    if as_json:
        say_json([picture.model_dump() for picture, _ in held])
        return
    for picture, path in held:
        say(f"{picture.file}  {len(picture.expected or ())} findings  {path}")
    if not held:
        note(f"no golden pictures are held for {name}: okawari golden record {name} VERSION PICTURES")


@golden_command.command("remove")
@click.argument("name")
@click.argument("file")
def remove_command(name: str, file: str) -> None:
    """Hold a picture no longer; FILE is its name in `okawari golden list`."""
    if not GoldenFiles(settings().home).remove(name, file):
        raise Refused(f"no golden picture {file} is held for {name}")
    say(f"removed {file}")
