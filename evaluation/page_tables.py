"""The tables and bars of a comparison's page, from its document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from evaluation.comparison import MEASURES

_SHARES = ("ap", "ap50", "accuracy", "precision", "recall")
_MOST_CLASSES = 200
Document = Mapping[str, Any]


def figure_table(document: Document) -> str:
    """Measures of both versions, their difference, and what changes by kind."""
    a, b = document["a"], document["b"]
    rows = [
        (f"{words.title} ({words.unit})" if words.unit else words.title, name)
        for name, words in MEASURES.items()
        if any(side["measures"].get(name) is not None for side in (a, b)) and not _is_zero(name, a, b)
    ]
    body = [
        (title, *_three(a["measures"].get(name), b["measures"].get(name), is_cost=MEASURES[name].is_cost))
        for title, name in rows
    ]
    body.append(("findings reported", str(a["findings"]), str(b["findings"]), ""))
    body.append(("score threshold", f"{a['threshold']:g}", f"{b['threshold']:g}", ""))
    agreed = [
        (name.replace("_", " "), "", "", f"{value:.3f}")
        for name, value in document["agreement"].items()
        if value is not None
    ]
    counts = document["transitions"]["counts"]
    said = "; ".join(f"{kind} {count}" for kind, count in counts.items()) or "none"
    return (
        table("Figures of both versions", ("", "A", "B", "difference"), [*body, *agreed])
        + f"<p>Changes: {escape(said)}.</p>"
        + '<p class="soft">Latency is decoding, preprocessing and the graph for one picture; both versions '
        "ran in turn in one process. AP is the mean over overlaps of 0.50 to 0.95, as COCO has it.</p>"
    )


def _is_zero(name: str, a: Document, b: Document) -> bool:
    """Whether a row says only that nothing failed."""
    return name == "failed" and not (a["measures"][name] or b["measures"][name])


def class_table(document: Document) -> str:
    """Measures of each label, those with the greatest difference first; empty without a truth."""
    classes_a, classes_b = document["a"]["classes"], document["b"]["classes"]
    names = sorted({*classes_a, *classes_b})
    if not names:
        return ""
    shown = [
        measure
        for measure in _SHARES
        if any(measure in row for each in (classes_a, classes_b) for row in each.values())
    ]

    def difference(label: str) -> float:
        old, new = (each.get(label, {}).get(shown[0]) or 0.0 for each in (classes_a, classes_b))
        return float(-abs(new - old))

    head = ("label", "objects", *(f"{side} {MEASURES[each].title}" for each in shown for side in ("A", "B")))
    body = []
    for label in sorted(names, key=difference)[:_MOST_CLASSES]:
        old, new = classes_a.get(label, {}), classes_b.get(label, {})
        count = old.get("objects") or new.get("objects") or 0
        cells = [_share(side.get(each)) for each in shown for side in (old, new)]
        body.append((label, f"{count:.0f}", *cells))
    more = len(names) - len(body)
    cut = f"<p>{more} more labels stand in comparison.json.</p>" if more > 0 else ""
    return _section("classes", "Labels", table("Figures of each label", head, body) + cut)


def slice_tables(document: Document) -> str:
    """The main measure of both for parts of the pictures, or their agreement."""
    by: dict[str, list[Mapping[str, Any]]] = {}
    for part in document["slices"]:
        by.setdefault(part["by"], []).append(part)
    tables = []
    for name, parts in by.items():
        head = (name, "pictures", "A", "B", "difference", "agreement")
        rows = [(part["value"], str(part["pictures"]), *_part(part)) for part in parts]
        if any(any(cell not in ("", "–") for cell in row[2:]) for row in rows):
            tables.append(f"<h3>By {escape(name)}</h3>" + table(f"Figures by {name}", head, rows))
    said = '<p class="soft">A and B: AP50, or accuracy, where the truth is known.</p>'
    return _section("slices", "Slices", said + "".join(tables)) if tables else ""


def _part(part: Mapping[str, Any]) -> tuple[str, ...]:
    main = next((name for name in ("ap50", "accuracy") if name in part["a"]), None)
    old, new = (part[side].get(main) if main else None for side in ("a", "b"))
    return (*_three(old, new, is_cost=False), _share(part["agreement"].get("agreement")))


def score_bars(document: Document) -> str:
    """How many findings of each score both versions have, as bars."""
    a, b = document["scores"]["a"], document["scores"]["b"]
    most = max([*a, *b], default=0)
    if not most:
        return ""
    bars = "".join(_bars(a, b, most))
    words = f"Findings by score from 0 to 1: A has {sum(a)}, B has {sum(b)}"
    svg = (
        f'<svg class="bars" viewBox="0 0 400 112" role="img" aria-label="{words}">{bars}'
        '<line x1="0" y1="110" x2="400" y2="110" stroke="#57606a"/></svg>'
    )
    said = (
        '<p class="soft">From score 0 at the left to 1 at the right, in steps of 0.05; heights are square '
        'roots of the counts. <span class="side-a">A</span> is orange, <span class="side-b">B</span> blue. '
        "Findings below the threshold are counted, too.</p>"
    )
    return _section("scores", "Scores", said + svg)


def _bars(a: Sequence[int], b: Sequence[int], most: int) -> Iterator[str]:
    width = 400 / len(a)
    for side, counts, shift in (("a", a, 0.1), ("b", b, 0.5)):
        for place, count in enumerate(counts):
            height = 105 * (count / most) ** 0.5
            yield (
                f'<rect class="bar-{side}" x="{(place + shift) * width:.1f}" y="{110 - height:.1f}" '
                f'width="{width * 0.4:.1f}" height="{height:.1f}"><title>{count}</title></rect>'
            )


def _section(name: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are escaped; `+0.1` and `-0.1` are good and bad, `!` turns that round."""
    top = "".join(f'<th scope="col">{escape(each)}</th>' if each else "<td></td>" for each in head)
    body = "".join(
        f'<tr><th scope="row" class="words">{escape(row[0])}</th>{"".join(map(_cell, row[1:]))}</tr>'
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    kind = {"+": "up", "-": "down", "!": "down", "~": "up"}.get(text[:1])
    shown = escape(text.lstrip("!~"))
    return f'<td class="{kind}">{shown}</td>' if kind and len(text) > 1 else f"<td>{shown}</td>"


def _three(old: float | None, new: float | None, *, is_cost: bool) -> tuple[str, str, str]:
    """Both values and their difference, which `_cell` colours."""
    write = _number if is_cost else _share
    if old is None or new is None:
        return write(old), write(new), ""
    difference = new - old
    shown = write(abs(difference))
    if not float(shown):
        return write(old), write(new), "0"
    if is_cost:
        return write(old), write(new), f"!+{shown}" if difference > 0 else f"~-{shown}"
    return write(old), write(new), f"{'+' if difference > 0 else '-'}{shown}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
