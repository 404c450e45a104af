"""YAML that people write as configuration: bounded, without anchors, tags and duplicate keys.

No message shows a value, which may be a secret: only the line, and the name of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import yaml

from common.text import plain

#: Characters of a document, levels of nesting, and keys and items of all levels together.
LONGEST = 1_000_000
DEEPEST = 20
MOST_NODES = 20_000


class BadYaml(ValueError):
    """The text is no document that is read here; the message says where and why."""


class _Loader(yaml.SafeLoader):
    """The safe loader with keys as text, and within bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read one value; the base class reads all below it."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = _line(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise BadYaml(f"{line}: anchors and aliases are refused; quote a value that begins with & or *")
        if getattr(event, "tag", None) is not None:
            raise BadYaml(f"{line}: tags are refused; quote a value that begins with !")
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST or self._nodes > MOST_NODES:
            raise BadYaml(f"{line}: more than {DEEPEST} levels or {MOST_NODES} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The keys as they are written (`001`, `on`), each once."""
        found: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadYaml(f"{_line(key.start_mark)}: a key is no text")
            if key.value in found:
                name = plain(key.value, 64)
                raise BadYaml(f"{_line(key.start_mark)}: the key {name} is there twice")
            found[key.value] = self.construct_object(value, deep=deep)
        return found


def load(text: str) -> Any:
    """The document, of plain values: mappings with text as keys, lists, text, numbers. Raises `BadYaml`."""
    return _read(text, lambda loader: loader.get_single_data())


def line_of(text: str, place: Sequence[int | str]) -> int:
    """The line, counted from 1, of the key or item at a place, or of the last part of it that is there.

    Raises `BadYaml`.
    """
    node: yaml.Node | None = _read(text, lambda loader: loader.get_single_node())
    mark = node.start_mark if node is not None else None
    for part in place:
        found = _element(node, part)
        if found is None:
            break
        mark, node = found
    return 1 if mark is None else int(mark.line) + 1


def _element(node: yaml.Node | None, part: int | str) -> tuple[Any, yaml.Node] | None:
    """Where the element of a node begins, with its key, and its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == part), None)
    return None


def _read(text: str, read: Callable[[_Loader], Any]) -> Any:
    if len(text) > LONGEST:
        raise BadYaml(f"{len(text)} characters, at most {LONGEST} are read")
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return read(loader)
    except BadYaml:
        raise
    except yaml.MarkedYAMLError as error:
        place = _line(error.problem_mark) if error.problem_mark else "somewhere"
        raise BadYaml(f"{place}: {_without_values(error.problem)}") from None
    except (yaml.YAMLError, ValueError) as error:  # a character, a date that cannot be
        reason = "a character that is not allowed" if isinstance(error, yaml.YAMLError) else "a bad value"
        raise BadYaml(f"the document has {reason}; quote texts") from None
    finally:
        if loader is not None:
            loader.dispose()


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}"


def _without_values(problem: str | None) -> str:
    """What the library says of the problem, unless it cites the text."""
    return problem if problem and not set("'\"") & set(problem) else "no valid YAML"
