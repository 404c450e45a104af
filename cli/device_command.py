"""`devices`: choose where models run, and show where they do."""

from __future__ import annotations

import re

import click

from cli.arguments import stored_model
from cli.output import note, say, settings
from cli.status_commands import look
from cli.view import ModelView
from models_import.store import ModelStore
from registry.device_file import DeviceFile, Devices
from workers.run_folder import RunFolder

_DEFAULT = "default"
_CHOICE = re.compile(r"(auto|cpu|cuda(:[0-9]{1,2})?|default)")
_ALLOWED = "auto, cpu, cuda, cuda:n or default"


@click.command("devices")
@click.argument("choices", nargs=-1, metavar="[MODEL=DEVICE…]")
def devices_command(choices: tuple[str, ...]) -> None:
    """Choose the device of a model, and show where each version runs.

    DEVICE is auto, cpu, cuda, cuda:n, or default: what config.json or OKAWARI_DEVICE says. The choice
    comes before both, and holds from the next load of the model on: its next version, or the next start.

    \b
    Examples:
      okawari devices
      okawari devices detector=cuda:0 embedder=cpu
      okawari devices detector=default
    """
    configured = settings()
    chosen = dict(_parsed(choice) for choice in choices)
    for model in chosen:
        stored_model(ModelStore(configured.models), model, configured.models)
    file = DeviceFile(configured.home)
    devices = file.choose(chosen) if chosen else file.read()
    for line in _lines(look(configured).models, devices):
        say(line)
    if chosen and RunFolder(configured.home).is_up():
        note("what is loaded stays where it is until its next load")


def _parsed(choice: str) -> tuple[str, str | None]:
    model, _, device = choice.partition("=")
    if not model or not _CHOICE.fullmatch(device):
        raise click.UsageError(f"{choice!r}: write MODEL=DEVICE; DEVICE is {_ALLOWED}")
    return model, None if device == _DEFAULT else device


def _lines(models: list[ModelView], devices: Devices) -> list[str]:
    """One line a model and loaded version: the choice, where it runs, and why."""
    lines = []
    for model in models:
        choice = devices.get(model.name, _DEFAULT)
        loaded = [each for each in model.versions if each.device is not None]
        for each in loaded:
            lines.append(f"{model.name}:{each.version}  {choice}  {each.device}  {each.device_reason}")
        if not loaded:
            lines.append(f"{model.name}  {choice}  not loaded")
    return lines or ["there are no models"]
