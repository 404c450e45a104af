"""`export`, `remove`: models leave."""

from __future__ import annotations

from pathlib import Path

import click

from cli.arguments import VERSION_ARGUMENTS, one_version
from cli.errors import Refused
from cli.output import note, say, settings
from manifest.tags import ModelTag
from models_import.store import ModelStore
from settings import Settings


@click.command("export")
@VERSION_ARGUMENTS
@click.argument("target", required=False, type=click.Path(path_type=Path))
def export_command(name: str, version: str, target: Path | None) -> None:
    """Export a version as an archive for `bentoml models import` and `okawari import`.

    TARGET is a file (.bentomodel, .tar, .tar.gz, .tar.xz or .zip) or a folder. Default:
    NAME-VERSION.bentomodel in the current folder. An existing file is never replaced.

    \b
    Examples:
      okawari export detector v7
      okawari export detector v7 /srv/backup/detector-v7.tar.gz
    """
    from models_import.exporter import export

    store = ModelStore(settings().models)
    say(f"exported {export(store, one_version(store, name, version), target)}")


@click.command("remove")
@VERSION_ARGUMENTS
def remove_command(name: str, version: str) -> None:
    """Delete a version from the store.

    Refused while a worker serves or loads it or would load it for a request, and while the model is pinned
    to it. Broken and half-copied versions can be removed too.

    \b
    Example:
      okawari remove detector v3
    """
    from models_import.remover import remove

    configured = settings()
    tag = one_version(ModelStore(configured.models), name, version)
    _refuse_in_use(configured, tag)
    latest = remove(configured.store_home, tag)
    say(f"removed {tag}")
    if latest is not None:
        note(f"latest of {tag.name} is {latest}")


def _refuse_in_use(configured: Settings, tag: ModelTag) -> None:
    from cli.view import ASLEEP
    from registry.file_store import DesiredFile
    from workers.run_folder import RunFolder

    desired = DesiredFile(configured.home).read().models.get(tag.name)
    if desired is not None and desired.target == tag.version:
        raise Refused(
            f"{tag.name} is pinned to {tag.version}: run `okawari follow {tag.name} latest` or pin another "
            "version first"
        )
    for worker in RunFolder(configured.home).worker_states():
        model = worker.models.get(tag.name)
        if model is not None and model.away == tag.version:
            raise Refused(f"{tag} is loaded when it is asked for: pin another version")
        for generation in model.generations if model else ():
            if generation.version == tag.version and generation.state not in ASLEEP:
                raise Refused(
                    f"{tag} is {generation.state} in the service (pid {worker.pid}): pin another version"
                )
