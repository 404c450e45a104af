"""`families`, `schema`: the permitted content of config.json."""

from __future__ import annotations

import click

from cli.output import say, say_json


@click.command("families")
def families_command() -> None:
    """List the model families, which turn model outputs into detections.

    \b
    Example:
      okawari families
    """
    from runners.families.index import FAMILIES

    for name, family in FAMILIES.items():
        about = (family.__doc__ or "").strip().partition("\n")[0]
        say(f"{name:12}  {family.task:20}  {about}")


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of config.json.

    \b
    Example:
      okawari schema > config.schema.json
    """
    from runners.families.index import json_schema

    say_json(json_schema())
