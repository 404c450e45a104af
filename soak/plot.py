"""A plot of a long run as one SVG file: a chart below the other, on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from soak.samples import Sample

#: Title, unit, and the figures of a chart with their colours.
_CHARTS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Memory of all workers", "MB", (("resident_mb", "#b24c3a"), ("proportional_mb", "#2f6f9f"))),
    ("Open descriptors", "", (("descriptors", "#2f6f9f"),)),
    ("Threads", "", (("threads", "#2f6f9f"),)),
    ("Latency", "ms", (("p50_ms", "#2f6f9f"), ("p99_ms", "#b24c3a"))),
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 860, 130, 64, 34, 58


def plot(samples: Sequence[Sample], marks: Sequence[tuple[float, str]], title: str) -> str:
    """The SVG. `marks` are moments in seconds and what happened then, drawn as thin lines."""
    height = 44 + len(_CHARTS) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 40} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        f'<rect width="{_WIDTH + 40}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    last = max((each.seconds for each in samples), default=1.0) or 1.0
    for number, (name, unit, figures) in enumerate(_CHARTS):
        top = 44 + _TOP + number * (_HEIGHT + _GAP)
        parts += _chart(samples, marks, last, top=top, name=name, unit=unit, figures=figures)
    return "\n".join([*parts, "</svg>\n"])


def _chart(
    samples: Sequence[Sample],
    marks: Sequence[tuple[float, str]],
    last: float,
    *,
    top: int,
    name: str,
    unit: str,
    figures: Sequence[tuple[str, str]],
) -> list[str]:
    most = max((getattr(each, figure) for each in samples for figure, _ in figures), default=0) or 1
    right, bottom = _WIDTH, top + _HEIGHT

    def across(seconds: float) -> float:
        return _LEFT + (right - _LEFT) * seconds / last

    parts = [f'<text x="{_LEFT}" y="{top - 10}" font-weight="600">{escape(name)}</text>']
    for index, (figure, colour) in enumerate(figures):
        parts.append(
            f'<text x="{_LEFT + 190 + 130 * index}" y="{top - 10}" fill="{colour}">{_legend(figure)}</text>'
        )
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * _HEIGHT
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e3e3"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(most * share)} {unit}</text>'
        )
    for seconds, _ in marks:
        x = across(seconds)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#999" stroke-dasharray="2 3"/>'
        )
    for figure, colour in figures:
        points = " ".join(
            f"{across(each.seconds):.1f},{bottom - _HEIGHT * getattr(each, figure) / most:.1f}"
            for each in samples
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<text x="{across(last * share):.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{last * share / 60:.0f} min</text>"
        )
    return parts


def _legend(figure: str) -> str:
    return figure.removesuffix("_mb").removesuffix("_ms")


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
