"""`okawari`: import models, see which versions are serving, choose what to serve.

Exit 0: done. 1: refused, with the reason in one line on stderr. 2: wrong usage.
Heavy libraries are imported inside the commands that need them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from cli.errors import Refused
from models_import.subprocesses import lower_priority

# Child processes inherit it. Without it BentoML sends usage data.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

#: Command → its module, imported on first use, and its summary.
COMMANDS = {
    "import": ("cli.import_commands", "Check models and add them to the store."),
    "get": ("cli.import_commands", "Download a model of the catalogue and import it."),
    "catalogue": ("cli.catalogue", "List the models of the catalogue."),
    "config": ("cli.config_commands", "Infer a first config.json from an ONNX file."),
    "init": ("cli.import_commands", "Install the demo models (once per home)."),
    "models": ("cli.status_commands", "List versions, their states, and why a version is not serving."),
    "export": ("cli.store_commands", "Export a version as an archive."),
    "remove": ("cli.store_commands", "Delete a version from the store."),
    "status": ("cli.status_commands", "Show whether the service is up, its addresses and what it serves."),
    "predict": ("cli.predict_command", "Run pictures through the service and show the detections."),
    "pin": ("cli.target_commands", "Pin a model to one version."),
    "follow": ("cli.target_commands", "Follow latest, or an alias such as @production."),
    "load": ("cli.residency_commands", "Load a model into memory, also after an unload."),
    "unload": ("cli.residency_commands", "Unload a model from memory; its files stay."),
    "warmup": ("cli.residency_commands", "Run a model on the pictures that it is checked on."),
    "promote": ("cli.promotion_commands", "Make a version production, and serve it."),
    "rollback": ("cli.promotion_commands", "Go back to the version that was production before."),
    "alias": ("cli.promotion_commands", "Let an alias mean a version."),
    "archive": ("cli.promotion_commands", "Put a version away."),
    "canary": ("cli.canary_command", "Let a version answer a share of the requests."),
    "gate": ("cli.gate_commands", "Show what the gate found about a version; judge it anew."),
    "golden": ("cli.golden_commands", "Pictures that every new version has to prove itself on."),
    "sign": ("cli.gate_commands", "Sign a version with a private key."),
    "compare": ("cli.compare_command", "Compare two versions on pictures, as a page."),
    "registry": ("cli.registry_commands", "The record of all versions."),
    "db": (
        "cli.database_commands",
        "Make and check the tables of the records, and of a registry in a database.",
    ),
    "history": ("cli.registry_commands", "Show who changed a model, when and why."),
    "who-served": ("cli.registry_commands", "Say which version answered at a moment."),
    "reload": ("cli.target_commands", "Rescan the store now and retry failed versions."),
    "device": ("cli.device_token_commands", "Give devices their tokens; list, disable and enable them."),
    "devices": ("cli.device_command", "Choose where models run, and show where they do."),
    "audit": ("cli.audit_command", "List who changed what, when and why; verify that record."),
    "storage": ("cli.storage_commands", "Show what pictures of devices take; clean up."),
    "annotate": ("cli.annotate_commands", "Note that an answer was wrong."),
    "flag": ("cli.annotate_commands", "Flag a picture as worth a look."),
    "dispatch": ("cli.dispatch_command", "Ask the service about each message of a topic of Kafka."),
    "events": (
        "cli.events_command",
        "Take events: make vectors, record requests to retrain.",
    ),
    "dlq": ("cli.dlq_commands", "List messages without a result; send them back."),
    "soak": ("cli.soak_command", "Run a service of its own for hours under traffic, swaps and faults."),
    "families": ("cli.family_commands", "List the model families."),
    "schema": ("cli.family_commands", "Print the JSON Schema of config.json."),
}


class Commands(click.Group):
    """The commands in the order of `COMMANDS`; an expected error of any of them becomes `Refused`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), f"{cmd_name.replace('-', '_')}_command")
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
    """Whether the error carries a message for the caller; any other is a bug and keeps its traceback.

    A closed pipe (`| head`) is neither: click ends the program silently.
    """
    from pydantic import ValidationError

    from hotswap.desired import BadServe
    from hotswap.errors import ServingError
    from manifest.tags import BadTag
    from manifest.version_manifest import BadManifest
    from models_import.errors import ImportRefused

    refusals = (ImportRefused, ServingError, BadManifest, BadTag, BadServe, ValidationError, OSError)
    return isinstance(error, refusals) and not isinstance(error, BrokenPipeError)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="okawari", message="okawari %(version)s")
def main() -> None:
    """Import models, see which versions are serving, choose what to serve.

    The models are in $BENTOML_HOME/models; the desired state and the run folder are in $OKAWARI_HOME.
    If only one of the two is set, the other defaults to it; if neither is set, both are ./var.
    `predict`, `load`, `unload` and `warmup` need a running service; every other command works with the
    service up or down.

    \b
    Examples:
      okawari import models/detector/v7      # a folder with weights.onnx and config.json
      okawari config infer run7.onnx         # a first config.json, to be checked
      okawari get fastestdet                 # from the catalogue
      okawari models                         # all versions, their states, and why some are not serving
      okawari predict photos/ --save out/    # detections as a table, and drawn on the pictures
      okawari pin detector v6                # back to v6, without downtime
      okawari follow detector latest         # the latest version again
    """


def run() -> None:
    """The entry point of `okawari`. Commands that import models first lower their own priority."""
    if any(word in ("import", "get", "init") for word in sys.argv[1:2]):
        lower_priority()
    main()
