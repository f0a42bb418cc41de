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


def draw_panel(title: str, values: Mapping[str, float], top: int) -> list[str]:
    room = WIDTH - LABEL - 70
    widest = max(values.values())
    lines = [
        f"<text x='16' y='{top + 26}' {FONT} font-size='15' font-weight='600' fill='#212529'>{escape(title)}</text>"
    ]
    for row, (label, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y = top + HEAD + row * ROW
        length = max(1.0, value / widest * room)
        weight = " font-weight='700'" if label.startswith("fastlane") else ""
        lines += [
            f"<text x='{LABEL - 8}' y='{y + 13}' text-anchor='end' {FONT} font-size='12.5' fill='#212529'{weight}>"
            f"{escape(label)}</text>",
            f"<rect x='{LABEL}' y='{y}' width='{length:.1f}' height='{BAR}' rx='2' fill='{colour(label)}'/>",
            f"<text x='{LABEL + length + 6:.1f}' y='{y + 13}' {FONT} font-size='12.5' fill='#212529'{weight}>"
            f"{value:.1f}</text>",
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
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}' "
            f"role='img' aria-label='{escape(caption, quote=True)}'>",
            f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
            *body,
            f"<text x='16' y='{top + 16}' {FONT} font-size='11' fill='#495057'>{escape(caption)}</text>",
            "</svg>",
            "",
        ]
    )
