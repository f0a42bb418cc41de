"""The chart: one panel a scenario, one bar a server, the shortest on top. Plain SVG, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["Panel", "draw"]

Panel = tuple[str, Mapping[str, float]]
"""A title, and microseconds by label."""

WIDTH = 860
LABEL = 290
ROW = 24
BAR = 16
HEAD = 44
FONT = "font-family='system-ui, sans-serif'"
OWN, FLOOR, OTHER = "#d9480f", "#868e96", "#74a3c7"


def colour(label: str) -> str:
    if label.startswith("fastlane"):
        return OWN
    return FLOOR if label.startswith("floor") else OTHER


def text(x: float, y: float, words: str, *, size: float = 12.5, bold: bool = False, anchor: str = "start") -> str:
    weight = " font-weight='700'" if bold else ""
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    return f"<text {place} {FONT} font-size='{size}' fill='#212529'{weight}>{escape(words)}</text>"


def draw_panel(title: str, values: Mapping[str, float], top: int) -> list[str]:
    room = WIDTH - LABEL - 70
    widest = max(values.values())
    lines = [text(16, top + 26, title, size=15, bold=True)]
    for row, (label, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y = top + HEAD + row * ROW
        length = max(1.0, value / widest * room)
        bold = label.startswith("fastlane")
        lines += [
            text(LABEL - 8, y + 13, label, bold=bold, anchor="end"),
            f"<rect x='{LABEL}' y='{y}' width='{length:.1f}' height='{BAR}' rx='2' fill='{colour(label)}'/>",
            text(LABEL + length + 6, y + 13, f"{value:.1f}", bold=bold),
        ]
    return lines


def draw(panels: Sequence[Panel], caption: str) -> str:
    """An SVG document; panels stand below each other, those without values are left out.

    Raises:
        ValueError: no panel has a value.
    """
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        raise ValueError("nothing to draw")
    body: list[str] = []
    top = 0
    for title, values in panels:
        body += draw_panel(title, values, top)
        top += HEAD + len(values) * ROW + 10
    height = top + 30
    size = f"width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'"
    label = escape(caption, quote=True)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' aria-label='{label}'>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        *body,
        text(16, top + 16, caption, size=11),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
