"""The page of a comparison: one HTML file that loads nothing, for screens, phones and paper."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from evaluation.answers import PairedAnswer
from evaluation.comparison import VersionComparison, finding_entry, transition_entry
from evaluation.page_tables import class_table, figure_table, score_bars, slice_tables
from evaluation.transitions import ChangedPicture, Findings, Transition
from hotswap.predictions import Box, Detection

_FILES = Path(__file__).parent / "page_files"
#: Bytes of the file; pictures are added, the worst first, as long as they fit.
MOST_BYTES = 4_800_000
_MOST_PICTURES = 400
_SIDES = (("a", "A"), ("b", "B"))
_KINDS = ("broken", "new false alarm", "label changed", "find gone", "new find", "fixed")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small copy of a picture as a data URL; `width` and `height` in pixels."""

    url: str
    width: int
    height: int


#: The small copy of a picture; None where it cannot be read any more.
Thumbnails = Callable[[PairedAnswer], Thumbnail | None]


def page(
    comparison: VersionComparison, thumbnails: Thumbnails, folder: str, most_bytes: int = MOST_BYTES
) -> str:
    """The file, at most `most_bytes` of UTF-8 where its tables leave room; `folder` has the pictures."""
    style, script = ((_FILES / name).read_text() for name in ("style.css", "script.js"))
    before, after = _before(comparison), _after(comparison)
    room = most_bytes - sum(len(each.encode()) for each in (style, script, before, after)) - 8_000
    articles, rows = _articles(comparison, thumbnails, room)
    cut = _cut(len(rows), len(comparison.changed))
    data = _data(comparison, rows, folder)
    changes = f'{cut}<div class="changes">{"".join(articles)}</div>' if articles else cut
    title = escape(" and ".join(each.name for each in comparison.versions))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>Comparison of {title}</title><link rel="icon" href="data:,">',
            f"<style>{style}</style></head>",
            f'<body data-show="both"><main>{before}',
            f'<section aria-labelledby="changes"><h2 id="changes">Changed pictures</h2>{changes}</section>',
            f"{after}{_BAR}</main>",
            f'<script type="application/json" id="data">{_script_json(data)}</script>',
            f"<script>{script}</script></body></html>\n",
        )
    )


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and only what this file brings is run; the service that shows it may be asked."""
    hashes = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (style, script))
    first, second = hashes
    return (
        f"default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{first}'; "
        f"script-src 'sha256-{second}'; base-uri 'none'; form-action 'none'"
    )


def _script_json(document: object) -> str:
    """JSON that cannot end the element in which it stands."""
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


_BAR = """
<div class="bar" role="toolbar" aria-label="Pictures and marks">
<button type="button" data-key="k">Before<kbd>k</kbd></button>
<button type="button" data-key="j">Next<kbd>j</kbd></button>
<button type="button" data-side="a" aria-pressed="false">A<kbd>1</kbd></button>
<button type="button" data-side="b" aria-pressed="false">B<kbd>2</kbd></button>
<button type="button" data-side="both" aria-pressed="true">Both<kbd>b</kbd></button>
<button type="button" id="save" disabled>Save marks</button>
<span id="status" role="status" class="soft"></span>
</div>
"""


#: Shown where the service itself shows the page.
_BUTTON = """
<div id="here" hidden><p><button type="button" id="activate">Promote B</button>
<label>Admin token, if the service has one <input type="password" id="token" autocomplete="off"></label></p>
<p id="activated" role="status"></p></div>
"""


# --- before and after the pictures -----------------------------------------------------------------


def _before(comparison: VersionComparison) -> str:
    document = comparison.document
    verdict, pictures = document["verdict"], document["pictures"]
    a, b = comparison.versions
    kind = verdict["result"] if verdict["result"] in ("better", "worse") else "other"
    notes = [f"{pictures['compared']} pictures, {pictures['with_truth']} with a known truth"]
    if pictures["unreadable"]:
        notes.append(f"{pictures['unreadable']} could not be read")
    if document["labels_without_truth"]:
        few = ", ".join(document["labels_without_truth"][:8])
        notes.append(f"the truth says nothing about {len(document['labels_without_truth'])} labels ({few})")
    return (
        f'<h1><span class="side-a">A {escape(a.name)}</span> against '
        f'<span class="side-b">B {escape(b.name)}</span></h1>'
        f'<div class="verdict {kind}"><p><strong>{escape(_capital(verdict["result"]))}</strong></p>'
        f"<p>{escape(_capital(verdict['sentence']))}.</p></div>"
        f'<p class="soft">{escape("; ".join(notes))}. {escape(document["task"])}, '
        f"{escape(document['created'])}. Digests {escape(a.digest[:19])}… and {escape(b.digest[:19])}…</p>"
        f'<section aria-labelledby="figures"><h2 id="figures">Figures</h2>{figure_table(document)}</section>'
    )


def _capital(text: str) -> str:
    """With a capital at its beginning, unless a model's name stands there."""
    return text if ":" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def _after(comparison: VersionComparison) -> str:
    document = comparison.document
    parts = [class_table(document), slice_tables(document), score_bars(document)]
    promote = document["promote"]
    if promote is None:
        last = "<p>Two models are compared: neither can be promoted in the place of the other.</p>"
    else:
        last = (
            "<p>Marks become golden pictures, which every later version has to pass:</p>"
            f"<pre tabindex=0>okawari golden marks {escape(comparison.versions[1].model)} marks.json</pre>"
            "<p>If version B is to answer from now on:</p>"
            f'<pre id="promote" tabindex=0>{escape(promote)}</pre>{_BUTTON}'
        )
    return (
        "".join(parts) + f'<section aria-labelledby="decide"><h2 id="decide">What to do</h2>{last}</section>'
    )


def _cut(shown: int, changed: int) -> str:
    if not changed:
        return "<p>Nothing changes in any picture.</p>"
    if shown < changed:
        said = f"The {shown} worst of {changed} changed pictures are shown; comparison.json lists them."
    else:
        said = f"All {changed} changed pictures, the worst first."
    legend = (
        '<span class="side-a">A: orange, solid</span>, <span class="side-b">B: blue, dashed</span>, '
        "true objects: white, dotted; what changed is bold."
    )
    keys = (
        " Keys: j and k go to the next and the one before; 1, 2 and b show A, B and both; "
        "a, s and x mark A right, B right and neither."
    )
    return f'<p>{said} {legend}<span class="screen">{keys}</span></p>'


def _data(comparison: VersionComparison, rows: Sequence[Mapping[str, Any]], folder: str) -> dict[str, Any]:
    a, b = comparison.versions
    promote = comparison.document["promote"]
    return {
        "key": f"okawari-compare {a.digest} {b.digest}",
        "folder": folder,
        **{
            side: {"name": version.name, "digest": version.digest, "threshold": version.threshold}
            for side, version in zip(("a", "b"), (a, b), strict=True)
        },
        "sentence": comparison.document["verdict"]["sentence"],
        "promote": None if promote is None else f"okawari promote {b.model} {b.version}",
        "candidate": None if promote is None else {"model": b.model, "version": b.version},
        "rows": rows,
    }


# --- pictures --------------------------------------------------------------------------------------


def _articles(
    comparison: VersionComparison, thumbnails: Thumbnails, room: int
) -> tuple[list[str], list[dict[str, Any]]]:
    """The changed pictures that fit into so many bytes, and what the script knows of each."""
    articles: list[str] = []
    rows: list[dict[str, Any]] = []
    for changed in comparison.changed[:_MOST_PICTURES]:
        answer = comparison.answers[changed.row]
        thumbnail = thumbnails(answer)
        if thumbnail is None:
            continue
        sides = _reported(comparison, answer)
        article = _article(len(articles), answer, changed, thumbnail, sides)
        row = _row(answer, changed, sides)
        room -= len(article.encode()) + len(_script_json(row)) + 1
        if room < 0:
            break
        articles.append(article)
        rows.append(row)
    return articles, rows


def _reported(comparison: VersionComparison, answer: PairedAnswer) -> dict[str, tuple[Detection, ...]]:
    a, b = comparison.versions
    return {
        "a": Findings(answer.a.detections, a.threshold).reported,
        "b": Findings(answer.b.detections, b.threshold).reported,
    }


def _row(
    answer: PairedAnswer, changed: ChangedPicture, sides: Mapping[str, Sequence[Detection]]
) -> dict[str, Any]:
    return {
        "picture": answer.name,
        "sha256": answer.sha256,
        "changes": [transition_entry(each) for each in changed.transitions],
        **{side: [_expected(each) for each in found] for side, found in sides.items()},
    }


def _expected(found: Detection) -> dict[str, Any]:
    """A finding as golden pictures expect it: its box inside the picture."""
    entry = finding_entry(found) or {}
    if entry["bbox"] is not None:
        entry["bbox"] = [min(1.0, max(0.0, side)) for side in entry["bbox"]]
    return entry | {"score": min(1.0, max(0.0, entry["score"]))}


def _article(
    number: int,
    answer: PairedAnswer,
    changed: ChangedPicture,
    thumbnail: Thumbnail,
    sides: Mapping[str, Sequence[Detection]],
) -> str:
    worst, name = changed.transitions[0], escape(answer.name)
    drawn = _drawing(thumbnail, changed, sides)
    buttons = "".join(
        f'<button type="button" data-right="{right}" aria-pressed="false">{said}<kbd>{key}</kbd></button>'
        for right, said, key in (
            ("a", "A is right", "a"),
            ("b", "B is right", "s"),
            ("neither", "Neither", "x"),
        )
    )
    lines = "".join(f"<li>{_line(each)}</li>" for each in changed.transitions[:12])
    more = len(changed.transitions) - 12
    lines += f"<li>and {more} more</li>" if more > 0 else ""
    return (
        f'<article tabindex="-1" aria-labelledby="p{number}">'
        f'<h3 id="p{number}">{number + 1}. {escape(worst.kind.value)}: {escape(worst.label)}</h3>'
        f'<div class="shot"><img src="{thumbnail.url}" width="{thumbnail.width}" height="{thumbnail.height}" '
        f'alt="{name}">{drawn}</div><p class="soft">{name}</p><ul>{lines}</ul>'
        f'<div class="marks" role="group" aria-label="Which version is right in picture {number + 1}">'
        f"{buttons}</div></article>"
    )


def _line(each: Transition) -> str:
    both = "; ".join(
        f'<span class="side-{side}">{word}</span> {escape(_said(found))}'
        for (side, word), found in zip(_SIDES, (each.a, each.b), strict=True)
    )
    right = {"a": "; A is right", "b": "; B is right", "neither": "; neither is right"}.get(each.right, "")
    return f"{escape(each.kind.value)}: {escape(each.label)} ({both}{right})"


def _said(found: Detection | None) -> str:
    return "nothing" if found is None else f"{found.label} {found.score:.2f}"


def _drawing(thumbnail: Thumbnail, changed: ChangedPicture, sides: Mapping[str, Sequence[Detection]]) -> str:
    """The boxes of both versions, and true objects that a change is about."""
    hot = {
        "a": [each.a for each in changed.transitions],
        "b": [each.b for each in changed.transitions],
    }
    groups = [
        f'<g class="{side}">{"".join(_boxed(each, thumbnail, each in hot[side], side) for each in found)}</g>'
        for side, found in sides.items()
    ]
    true = {each.truth for each in changed.transitions if each.truth is not None}
    truths = "".join(_rectangle(box, thumbnail, "box") for box in sorted(true))
    return (
        f'<svg viewBox="0 0 {thumbnail.width} {thumbnail.height}" preserveAspectRatio="none" '
        f'aria-hidden="true"><g class="t">{truths}</g>{"".join(groups)}</svg>'
    )


def _boxed(found: Detection, thumbnail: Thumbnail, is_hot: bool, side: str) -> str:
    if found.bbox is None:
        return ""
    size = max(11, thumbnail.width // 34)
    left, top, _, bottom = found.bbox
    # A's name stands above its box, B's below, so that both can be read.
    at = top * thumbnail.height - size * 0.3 if side == "a" else bottom * thumbnail.height + size
    x = min(max(2.0, left * thumbnail.width), thumbnail.width * 0.8)
    y = min(max(float(size), at), thumbnail.height - 3.0)
    name = escape(f"{found.label[:40]} {found.score:.2f}") if is_hot else ""
    text = f'<text transform="translate({x:.0f} {y:.0f}) scale({size})">{name}</text>' if is_hot else ""
    under = _rectangle(found.bbox, thumbnail, "under") if is_hot else ""
    return under + _rectangle(found.bbox, thumbnail, "box hot" if is_hot else "box") + text


def _rectangle(box: Box, thumbnail: Thumbnail, kind: str) -> str:
    left, top = box[0] * thumbnail.width, box[1] * thumbnail.height
    width, height = (box[2] - box[0]) * thumbnail.width, (box[3] - box[1]) * thumbnail.height
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{max(0.0, width):.1f}" '
        f'height="{max(0.0, height):.1f}"/>'
    )
