"""`catalogue`: what `okawari get` can fetch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.output import mega, say, say_json, settings
from hotswap.manifest import ModelConfig
from hotswap.repository import ModelInfo, VersionInfo
from models_import.store import ModelStore

if TYPE_CHECKING:
    from models_import.catalogue import CatalogueEntry

#: What the store holds by an entry's tag.
HELD, DIFFERS, ABSENT = "yes", "differs", "-"
_COLUMNS = ("MODEL", "TASK", "SIZE", "LICENCE", "QUALITY", "STORED", "SOURCE")
_COMMIT = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")


@dataclass(frozen=True, slots=True)
class Offer:
    """One model version that can be had, and what the store holds by its tag."""

    entry: CatalogueEntry
    config: ModelConfig
    digest: str
    sight: VersionInfo | None

    @property
    def stored(self) -> str:
        if self.sight is None:
            return ABSENT
        whole = self.sight.reason is None and self.sight.digest == self.digest
        return HELD if whole else DIFFERS


@click.command("catalogue")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--json", "as_json", is_flag=True, help="For programs; addresses and digests in full.")
def catalogue_command(names: tuple[str, ...], as_json: bool) -> None:
    """List the models that `okawari get` fetches: task, size, licence, measured quality, source.

    QUALITY was measured with this service; AP50 is the average precision at an overlap of 0.5, at best
    1. STORED says whether the store holds the version already; what `differs` has its tag and other
    files, or is not whole: `okawari models` says which.

    \b
    Examples:
      okawari catalogue
      okawari catalogue yolox_nano nanodet_m_416
      okawari catalogue --json
    """
    from models_import.catalogue import choose, entries

    found = entries()
    for name in names:
        choose(found, name, None)
    sights = ModelStore(settings().models).look() or {}
    offers = [_offer(entry, sights) for entry in found if not names or entry.name in names]
    if as_json:
        say_json({"models": [_document(offer) for offer in offers]})
    else:
        _print(offers)


def _offer(entry: CatalogueEntry, sights: Mapping[str, ModelInfo]) -> Offer:
    from models_import.catalogue import config_of, digest_before_fetching

    model = sights.get(entry.name)
    sight = model.versions.get(entry.version) if model else None
    return Offer(entry, config_of(entry), digest_before_fetching(entry), sight)


def _document(offer: Offer) -> dict[str, Any]:
    entry = offer.entry.model_dump(mode="json", exclude={"config"})
    more = {"task": offer.config.task, "family": offer.config.family, "digest": offer.digest}
    held = {"stored": offer.stored == HELD, "stored_digest": offer.sight.digest if offer.sight else None}
    return entry | more | held


def _print(offers: Sequence[Offer]) -> None:
    """One line a model; on a terminal the source stands below, so that the line fits."""
    from rich.console import Console

    # A terminal folds what is too long; a program is given whole lines.
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
        cells = [escape(cell) for cell in _row(offer)[: len(columns)]]
        table.add_row(*cells, style="green" if offer.stored == HELD else "")
    with console.capture() as captured:
        console.print(table)
    lines: list[str] = captured.get().splitlines()
    return lines


def _row(offer: Offer) -> tuple[str, ...]:
    entry = offer.entry
    size, quality = mega(entry.size), str(entry.quality)
    return str(entry.tag), offer.config.task, size, entry.licence, quality, offer.stored, str(entry.source)


def _shortened(address: str) -> str:
    """An address that people may still open: a commit is known by its first letters."""
    return _COMMIT.sub(r"\1", address.removeprefix("https://"))


def _measured(offers: Sequence[Offer]) -> list[str]:
    """How the qualities were measured, those that were measured alike together."""
    ways = dict.fromkeys((offer.entry.quality.measure, offer.entry.quality.how) for offer in offers)
    return [
        f"{measure} of {', '.join(_names(offers, measure, how))}: {how}, measured with this service"
        for measure, how in ways
    ]


def _names(offers: Sequence[Offer], measure: str, how: str) -> list[str]:
    alike = (one for one in offers if (one.entry.quality.measure, one.entry.quality.how) == (measure, how))
    return list(dict.fromkeys(offer.entry.name for offer in alike))
