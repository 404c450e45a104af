"""`golden`: pictures with what has to be found in them, held for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.arguments import VERSION_ARGUMENTS, stored_model
from cli.compare_command import marks_command
from cli.errors import Refused
from cli.gate_commands import settled_version
from cli.output import note, say, say_json, settings
from common.text import explain
from hotswap.errors import ServingError
from models_import.store import ModelStore
from registry.golden_files import GoldenFiles

if TYPE_CHECKING:
    from manifest.version_manifest import ExpectedObject


@click.group("golden")
def golden_command() -> None:
    """Hold pictures with what has to be found in them; the gate tries every new version on them.

    \b
    Examples:
      okawari golden record detector v6 pictures/*.jpg     # v6 is trusted: what it finds is expected
      okawari golden add detector corrected.jpg --expected corrected.json
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
    from hotswap.predictions import Options, Picture
    from runners.loader import OnnxLoader

    configured = settings()
    artifact = settled_version(configured, name, version)
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


@golden_command.command("add")
@click.argument("name")
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--expected",
    "document",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON with what is to be found in it. Left out: only whether versions agree about it is checked.",
)
def add_command(name: str, picture: Path, document: Path | None) -> None:
    """Hold a PICTURE for a model, with what a person says is to be found in it.

    The document is a list of objects with `label`, `bbox` ([x1, y1, x2, y2] in 0..1 of the upright picture)
    and perhaps `score`, the least that a version should give it; or what `okawari predict --json` printed for
    the picture, corrected by hand.

    \b
    Examples:
      okawari golden add detector corrected.jpg --expected corrected.json
      okawari golden add detector any.jpg            # versions are compared on it
    """
    from runners.decode import measure

    configured = settings()
    stored_model(ModelStore(configured.models), name, configured.models)
    data = picture.read_bytes()
    try:
        measure(data)
    except ServingError as error:
        raise Refused(f"{picture}: {error.message}") from None
    expected = None if document is None else expected_objects(document)
    GoldenFiles(configured.home).add(name, picture.name, data, expected)
    what = "any findings" if expected is None else f"{len(expected)} findings are expected"
    say(f"{picture}: {what}")


def expected_objects(path: Path) -> list[ExpectedObject]:
    """What a JSON file expects: a list of objects, or an object with `expected` or `detections`.

    Other keys of an object are passed over. Raises `Refused`.
    """
    from pydantic import ValidationError

    from manifest.version_manifest import ExpectedObject

    try:
        document = json.loads(path.read_bytes())
        if isinstance(document, dict):
            document = next(document[key] for key in ("expected", "detections") if key in document)
        known = ExpectedObject.model_fields
        return [
            ExpectedObject.model_validate({key: each[key] for key in known if key in each})
            for each in document
        ]
    except ValidationError as error:
        raise Refused(explain(str(path), error)) from None
    except (ValueError, TypeError, StopIteration, AttributeError):
        raise Refused(
            f"{path}: expected a JSON list of objects such as "
            '{"label": "cat", "bbox": [0.1, 0.2, 0.6, 0.9]}, or an object with such a list as `detections`'
        ) from None


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
        findings = "any" if picture.expected is None else len(picture.expected)
        say(f"{picture.file}  {findings} findings  {path}")
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


golden_command.add_command(marks_command)
