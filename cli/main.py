"""`okawari`: bring models in, see what serves, and say what shall serve.

Exit 0: done. 1: refused, with the reason in one line on stderr. 2: the command was not understood.
Heavy libraries are imported inside the commands that need them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from cli.errors import Refused
from models_import.subprocesses import give_way

# Every process of ours inherits it; BentoML would send usage data otherwise.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

#: Command → the module that holds it, imported when it is needed, and what it does.
COMMANDS = {
    "import": ("cli.import_commands", "Check models and put them into the store, each in one step."),
    "get": ("cli.import_commands", "Fetch a model of the catalogue and put it into the store."),
    "catalogue": ("cli.catalogue", "List the models that can be fetched by name."),
    "init": ("cli.import_commands", "Give a new home the demo models, once."),
    "models": ("cli.status_commands", "List versions, which serves, and why the others do not."),
    "export": ("cli.store_commands", "Write a version as an archive."),
    "remove": ("cli.store_commands", "Remove a version from the store for good."),
    "status": ("cli.status_commands", "Say whether the service runs, where, and what it serves."),
    "predict": ("cli.predict_command", "Ask the running service about pictures, and see what it sees."),
    "pin": ("cli.target_commands", "Let one version answer, whatever else is imported."),
    "follow": ("cli.target_commands", "Let the newest version answer, now and after every import."),
    "reload": ("cli.target_commands", "Let the service look again now, and try again what failed."),
    "families": ("cli.family_commands", "List the model families."),
    "schema": ("cli.family_commands", "Print the JSON Schema of config.json."),
}


class Commands(click.Group):
    """The commands, in the order in which people meet them; what is refused becomes `Refused`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not _is_refusal(error):
                raise
            raise Refused(str(error)) from None


def _is_refusal(error: Exception) -> bool:
    """Whether the error speaks to the caller; any other is a fault of ours and shows where it happened.

    A reader that has left, such as `head`, is neither: click ends the program without a word.
    """
    from pydantic import ValidationError

    from hotswap.desired import BadServe
    from hotswap.manifest import BadManifest
    from hotswap.tags import BadTag
    from models_import.errors import ImportRefused
    from registry.file_store import StateDamaged

    told = (ImportRefused, StateDamaged, BadManifest, BadTag, BadServe, ValidationError, OSError)
    return isinstance(error, told) and not isinstance(error, BrokenPipeError)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="okawari", message="okawari %(version)s")
def main() -> None:
    """Bring models in, see what serves, and say what shall serve.

    The models lie in $BENTOML_HOME/models, what is wished and what runs in $OKAWARI_HOME. If one of
    the two is set the other defaults to it; if neither, both are ./var. Every command works with the
    service up or down.

    \b
    Examples:
      okawari import models/detector/v7      # a folder with weights.onnx and config.json
      okawari get fastestdet                 # from the catalogue
      okawari models                         # what there is, what serves, and why the rest does not
      okawari predict photos/ --save seen/   # what it finds, as a table and drawn on the pictures
      okawari pin detector v6                # back to v6, while requests are answered
      okawari follow detector latest         # the newest again
    """


def run() -> None:
    """What `okawari` is: the command line as a program. Imports give way before they load anything."""
    if any(word in ("import", "get", "init") for word in sys.argv[1:2]):
        give_way()
    main()
