"""`catalogue`: the models that `okawari get` can download."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.output import mega, say, say_json, settings
from hotswap.repository import ModelInfo, VersionInfo
from manifest.version_manifest import ModelConfig
from models_import.store import ModelStore

if TYPE_CHECKING:
    from models_import.catalogue import CatalogueEntry

#: How the store's version compares with an entry: the same files, other or incomplete files, not stored.
HELD, DIFFERS, ABSENT = "yes", "differs", "-"
_COLUMNS = ("MODEL", "TASK", "SIZE", "LICENCE", "QUALITY", "STORED", "SOURCE")
_LONGEST_TASK = 17
_COMMIT = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry of the catalogue, and the store's version of the same tag."""

    entry: CatalogueEntry
    config: ModelConfig
    digest: str
    in_store: VersionInfo | None

    @property
    def stored(self) -> str:
        if self.in_store is None:
            return ABSENT
        same = self.in_store.reason is None and self.in_store.digest == self.digest
        return HELD if same else DIFFERS


@click.command("catalogue")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--json", "as_json", is_flag=True, help="JSON output, with full addresses and digests.")
def catalogue_command(names: tuple[str, ...], as_json: bool) -> None:
    """List the models of the catalogue: task, size, licence, measured quality, source.

    QUALITY was measured with this service; AP50 is the average precision at an overlap of 0.5 (best:
    1); "not tried": the config was never tried with the original weights. STORED shows whether the
    store holds the version; `differs` means that the stored version has other files or is incomplete:
    see `okawari models`.

    \b
    Examples:
      okawari catalogue
      okawari catalogue yolox_nano nanodet_m_416
      okawari catalogue --json
    """
    from models_import.catalogue import choose, entries

    known = entries()
    for name in names:
        choose(known, name, None)
    stored = ModelStore(settings().models).look() or {}
    offers = [_offer(entry, stored) for entry in known if not names or entry.name in names]
    if as_json:
        say_json({"models": [_document(offer) for offer in offers]})
    else:
        _print(offers)


def _offer(entry: CatalogueEntry, stored: Mapping[str, ModelInfo]) -> Offer:
    from models_import.catalogue import config_of, digest_before_fetching

    model = stored.get(entry.name)
    version = model.versions.get(entry.version) if model else None
    return Offer(entry, config_of(entry), digest_before_fetching(entry), version)


def _document(offer: Offer) -> dict[str, Any]:
    entry = offer.entry.model_dump(mode="json", exclude={"config"})
    more = {"task": offer.config.task, "family": offer.config.family, "digest": offer.digest}
    in_store = offer.in_store
    held = {"stored": offer.stored == HELD, "stored_digest": in_store.digest if in_store else None}
    return entry | more | held


def _print(offers: Sequence[Offer]) -> None:
    """Print one line per model; on a terminal the source is below it, so that the line fits."""
    from rich.console import Console

    # A terminal folds long lines; a program gets them whole.
    console = Console(width=100_000)
    if not console.is_terminal:
        for line in _lines(console, offers, _COLUMNS):
            say(line.rstrip())
        return
    head, *rows = _lines(console, offers, _COLUMNS[:-1])
    say(head)
    for offer, row in zip(offers, rows, strict=True):
        say(row)
        say(click.style(f"  {_shortened(str(offer.entry.source))}", dim=True))
    for line in _measured(offers):
        say(line)


def _lines(console: Any, offers: Sequence[Offer], columns: Sequence[str]) -> list[str]:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True, justify="right" if name == "SIZE" else "left")
    for offer in offers:
        cells = [escape(cell) for cell in _row(offer, whole=columns is _COLUMNS)[: len(columns)]]
        table.add_row(*cells, style="green" if offer.stored == HELD else "")
    with console.capture() as captured:
        console.print(table)
    lines: list[str] = captured.get().splitlines()
    return lines


def _row(offer: Offer, *, whole: bool) -> tuple[str, ...]:
    """The cells of a line; where it is not `whole`, long words are cut so that it fits a terminal."""
    entry, task = offer.entry, offer.config.task
    cut = task if whole or len(task) <= _LONGEST_TASK else f"{task[: _LONGEST_TASK - 1]}…"
    size = mega(entry.total)
    return str(entry.tag), cut, size, entry.licence, entry.measured, offer.stored, str(entry.source)


def _shortened(address: str) -> str:
    """An address with its commit cut to 7 digits, which GitHub still resolves."""
    return _COMMIT.sub(r"\1", address.removeprefix("https://"))


def _measured(offers: Sequence[Offer]) -> list[str]:
    """How each quality was measured, a line per method."""
    qualities = [offer.entry.quality for offer in offers if offer.entry.quality is not None]
    methods = dict.fromkeys((quality.measure, quality.how) for quality in qualities)
    return [
        f"{measure} of {', '.join(_names(offers, measure, how))}: {how}, measured with this service"
        for measure, how in methods
    ]


def _names(offers: Sequence[Offer], measure: str, how: str) -> list[str]:
    entries = (offer.entry for offer in offers)
    names = (
        entry.name
        for entry in entries
        if entry.quality and (entry.quality.measure, entry.quality.how) == (measure, how)
    )
    return list(dict.fromkeys(names))
