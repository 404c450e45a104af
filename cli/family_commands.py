"""`families`, `schema`: the permitted content of config.json."""

from __future__ import annotations

import click

from cli.output import note, say, say_json


@click.command("families")
def families_command() -> None:
    """List the model families, which turn model outputs into detections.

    Families of other packages name their package. A family that cannot be used is listed on stderr, with
    the reason.

    \b
    Example:
      okawari families
    """
    from runners.families.index import FAMILIES, OUTSIDE

    names, tasks = (max(map(len, texts)) for texts in (FAMILIES, [each.task for each in FAMILIES.values()]))
    for name, family in FAMILIES.items():
        about = (family.__doc__ or "").strip().partition("\n")[0]
        package = f" ({OUTSIDE.distributions[name]})" if name in OUTSIDE.distributions else ""
        say(f"{name:{names}}  {family.task:{tasks}}  {about}{package}")
    for unusable in OUTSIDE.unusable:
        note(f"okawari: warning: {unusable}")


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of config.json.

    \b
    Example:
      okawari schema > config.schema.json
    """
    from runners.families.index import json_schema

    say_json(json_schema())
