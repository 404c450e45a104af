"""The registry file's content: `{"models": […], "history": […]}`, read from what people may have edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.text import explain_findings, line_of
from registry.entries import ChangeRecord, RegistryEntry, Status
from registry.errors import RegistryDamaged
from registry.model_record import MOVES, ModelRecord
from registry.record_store import Pointer

#: Maximum entries of a file, and records of its history; older ones are dropped.
MOST_ENTRIES = 100_000
MOST_HISTORY = 10_000
#: So many changes of production of each model outlive the others: rollbacks return along them.
_KEPT_MOVES = 20
_OPTIONAL = ("digest", "aliases", "tags")
_Part = RegistryEntry | ChangeRecord
_P = TypeVar("_P", RegistryEntry, ChangeRecord)
#: The layout: a part begins in a line of its own, and no text of JSON holds an end of line.
_START, _MIDDLE, _END = '{\n  "models": [\n    ', '\n  ],\n  "history": [\n    ', "\n  ]\n}\n"
_BETWEEN = ",\n    {"


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[tuple[RegistryEntry, ...], Field(max_length=MOST_ENTRIES)] = ()
    history: tuple[ChangeRecord, ...] = ()


@dataclass(frozen=True)
class RegistryDocument:
    """The content as records by model, in the order of the file."""

    records: Mapping[str, ModelRecord] = field(default_factory=dict)
    history: Sequence[ChangeRecord] = ()

    @property
    def next_number(self) -> int:
        """The number of the next change."""
        return self.history[-1].number + 1 if self.history else 1

    def with_record(self, record: ModelRecord, change: ChangeRecord) -> RegistryDocument:
        """The document after a change."""
        history = _bounded([*self.history, change])
        return RegistryDocument({**self.records, record.name: record}, history)

    def pointers(self) -> Mapping[str, Pointer]:
        """What the pointers of each model mean."""
        return {name: _pointer(record) for name, record in self.records.items()}


class DocumentCodec:
    """Reads and writes the file's bytes: indented, without optional fields that are empty.

    What the bytes or the document share with those before is neither checked nor serialised again: a change
    of one version among ten thousand costs little more than the bytes.
    """

    def __init__(self) -> None:
        #: Texts by the identity of the parts that they show; the parts are kept, so that no other takes it.
        self._texts: dict[int, tuple[_Part, str]] = {}

    def to_json(self, document: RegistryDocument) -> bytes:
        """The file's bytes."""
        entries = [one for record in document.records.values() for one in record.entries.values()]
        parts: tuple[_Part, ...] = (*entries, *document.history)
        known = self._texts
        texts = {id(part): known.get(id(part)) or (part, _indented(part)) for part in parts}
        self._texts = texts
        models, history = (
            _array([texts[id(part)][1] for part in some]) for some in (entries, document.history)
        )
        return f'{{\n  "models": {models},\n  "history": {history}\n}}\n'.encode()

    def parse(self, source: str, data: bytes) -> RegistryDocument:
        """Read the file's bytes; raises `RegistryDamaged`, which names the line and the reason."""
        return self._parsed_by_parts(source, data) or parse(source, data)

    def _parsed_by_parts(self, source: str, data: bytes) -> RegistryDocument | None:
        """The document, where the bytes are laid out as we do and each part is right."""
        try:
            models, history = _split(data.decode())
            known = {text: part for part, text in self._texts.values()}
            entries = _parts(RegistryEntry, models, known)
            changes = _parts(ChangeRecord, history, known)
        except ValueError:  # of pydantic and of the decoder, too: the careful way finds line and reason
            return None
        _check_unique(source, data.decode(), entries)
        parts: tuple[_Part, ...] = (*entries, *changes)
        pairs = zip(parts, (*models, *history), strict=True)
        self._texts = {id(part): (part, text) for part, text in pairs}
        return _document(_Content.model_construct(models=entries, history=changes))


def _split(text: str) -> tuple[list[str], list[str]]:
    """The texts of the entries and of the changes; raises `ValueError` where the layout is another one."""
    middle = text.find(_MIDDLE)
    if not (text.startswith(_START) and text.endswith(_END) and middle > 0):
        raise ValueError("another layout")
    return _elements(text[len(_START) : middle]), _elements(text[middle + len(_MIDDLE) : -len(_END)])


def _elements(text: str) -> list[str]:
    first, *others = text.split(_BETWEEN)
    return [first, *["{" + other for other in others]]


def _array(texts: Sequence[str]) -> str:
    inner = ",\n    ".join(texts)
    return f"[\n    {inner}\n  ]" if texts else "[]"


def _parts(kind: type[_P], texts: Sequence[str], known: Mapping[str, _Part]) -> tuple[_P, ...]:
    if len(texts) > MOST_ENTRIES:
        raise ValueError("too many")
    found = (known.get(text) for text in texts)
    return tuple(
        part if isinstance(part, kind) else kind.model_validate_json(text)
        for part, text in zip(found, texts, strict=True)
    )


def _indented(part: _Part) -> str:
    if isinstance(part, RegistryEntry):
        text = part.model_dump_json(indent=2, exclude={name for name in _OPTIONAL if not getattr(part, name)})
    else:
        text = part.model_dump_json(indent=2, exclude_none=True)
    return text.replace("\n", "\n    ")


def parse(source: str, data: bytes) -> RegistryDocument:
    """Read the file's bytes; raises `RegistryDamaged`, which names the line and the reason."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RegistryDamaged(f"{source}, line {line}: not UTF-8") from None
    try:
        content = _Content.model_validate_json(data)
    except ValidationError as error:
        raise RegistryDamaged(_explained(source, text, error)) from None
    _check_unique(source, text, content.models)
    return _document(content)


def _explained(source: str, text: str, error: ValidationError) -> str:
    findings = error.errors(include_url=False, include_context=False)
    if findings[0]["type"] == "json_invalid":
        return f"{source}: {findings[0]['msg']}"
    line = line_of(text, findings[0]["loc"])
    return explain_findings(f"{source}, line {line}", findings[:1])


def _check_unique(source: str, text: str, entries: Sequence[RegistryEntry]) -> None:
    """Raise where two entries are the same version, or a model has two productions or one alias twice."""
    seen: dict[tuple[str, ...], int] = {}
    for index, entry in enumerate(entries):
        for claim, problem in _claims(entry):
            first = seen.setdefault((entry.model_name, *claim), index)
            if first != index:
                lines = [line_of(text, ("models", place)) for place in (first, index)]
                raise RegistryDamaged(
                    f"{source}, line {lines[1]}: {entry.model_name} has {problem} twice, "
                    f"first in line {lines[0]}; allowed is one"
                )


def _claims(entry: RegistryEntry) -> list[tuple[tuple[str, ...], str]]:
    """What an entry claims for itself alone among those of its model."""
    claims: list[tuple[tuple[str, ...], str]] = [(("version", entry.version), f"version {entry.version}")]
    if entry.status is Status.PRODUCTION:
        claims.append((("production",), "a production version"))
    return [*claims, *((("alias", alias), f"alias {alias}") for alias in set(entry.aliases))]


def _document(content: _Content) -> RegistryDocument:
    entries: dict[str, dict[str, RegistryEntry]] = {}
    moves: dict[str, list[ChangeRecord]] = defaultdict(list)
    for entry in content.models:
        entries.setdefault(entry.model_name, {})[entry.version] = entry
    for change in content.history:
        if change.action in MOVES:
            moves[change.model_name].append(change)
    records = {name: ModelRecord(name, found, tuple(moves[name])) for name, found in entries.items()}
    return RegistryDocument(records, content.history)


def _pointer(record: ModelRecord) -> Pointer:
    now = record.production
    aliases = {alias: one.version for one in record.entries.values() for alias in one.aliases}
    return Pointer(now.version if now else None, aliases)


def _bounded(history: list[ChangeRecord]) -> tuple[ChangeRecord, ...]:
    """The history without its oldest records, where it is too long."""
    surplus = len(history) - MOST_HISTORY
    if surplus <= 0:
        return tuple(history)
    later: dict[str, int] = defaultdict(int)
    kept: list[ChangeRecord] = []
    for index in range(len(history) - 1, -1, -1):
        change = history[index]
        is_move = change.action in MOVES
        if index >= surplus or (is_move and later[change.model_name] < _KEPT_MOVES):
            kept.append(change)
        later[change.model_name] += is_move
    return tuple(reversed(kept))
