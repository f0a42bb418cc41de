"""What the docstrings of the tables say about each key: one text for the code, for editors and for examples."""

from __future__ import annotations

import inspect
import re

__all__ = ["describe_keys", "describe_table"]

_ENTRY = re.compile(r"    (?P<names>[a-z_]+(?:, [a-z_]+)*): (?P<text>.*)")


def describe_table(table: type) -> str:
    """The first paragraph of the docstring, in one line."""
    return _plain(" ".join((inspect.getdoc(table) or "").partition("\n\n")[0].split()))


def describe_keys(table: type) -> dict[str, str]:
    """The entries of the docstring's ``Attributes:``, each in one line, by key."""
    described: dict[str, str] = {}
    names: list[str] = []
    section = (inspect.getdoc(table) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    for line in section.splitlines():
        match = _ENTRY.fullmatch(line)
        if match is not None:
            names = match["names"].split(", ")
            described |= dict.fromkeys(names, match["text"].strip())
        else:
            described |= {name: f"{described[name]} {line.strip()}" for name in names}
    return {name: _sentence(_plain(text)) for name, text in described.items()}


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:1].isalpha() else text
