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
@click.option("--models", is_flag=True, help="That of ModelRegistry.yaml.")
def schema_command(models: bool) -> None:
    """Print the JSON Schema of config.json.

    \b
    Examples:
      okawari schema > config.schema.json
      okawari schema --models > model-registry.schema.json
    """
    from registry import model_list
    from runners.families import index

    say_json(model_list.json_schema() if models else index.json_schema())
