"""Writes what the documentation takes from elsewhere: ``python docs/tables.py``.

A table of the code stands between ``<!-- name -->`` and ``<!-- /name -->``, a file beside the page between
``<!-- file NAME -->`` and ``<!-- /file -->``. The tests fail when one is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fastlane import errors
from fastlane.server.options import OPTIONS

__all__ = ["PAGES", "filled"]

DOCS = Path(__file__).parent
PAGES = ("deployment.md", "responses.md", *(f"deployment/{page.name}" for page in DOCS.glob("deployment/*.md")))
LANGUAGES = {".service": "ini", ".socket": "ini", ".yaml": "yaml", ".py": "py", ".conf": "nginx", "": "dockerfile"}


def options() -> Iterator[str]:
    """Every option of serve: flag, variable and key follow from one another, so the flag is enough."""
    section = ""
    for option in OPTIONS:
        if option.section != section:
            section = option.section
            yield f"\n**{section}**\n"
            yield "| flag | variable | key in `[serve]` | default | |"
            yield "| --- | --- | --- | --- | --- |"
        flag = f"{option.flag} {option.metavar}" if option.metavar else f"{option.flag}, {option.negative_flag}"
        key = f"`{option.key}`" if option.key else ""
        default = f"`{option.shown_default}`" if option.shown_default else ""
        cells = (f"`{flag}`".replace("|", "\\|"), f"`{option.variable}`", key, default, option.help)
        yield f"| {' | '.join(cells)} |"


def error_classes() -> Iterator[str]:
    """Every class that is an answer, in the order of the tree."""
    yield "\n| class | status | code | |\n| --- | --- | --- | --- |"
    for name, found in vars(errors).items():
        is_answer = isinstance(found, type) and issubclass(found, errors.HTTPError) and found is not errors.HTTPError
        if is_answer and name in errors.__all__:
            meaning = (found.__doc__ or "").strip().splitlines()[0]
            yield f"| `{name}` | {found.status} | `{found.code}` | {meaning} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {"options": options, "errors": error_classes}


def filled(page: str) -> str:
    """A page's text with its tables and files put in anew."""

    def table(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- {name} -->\n{chr(10).join(TABLES[name]())}\n\n<!-- /{name} -->"

    def file(match: re.Match[str]) -> str:
        path = (DOCS / page).parent / match[1]
        return f"<!-- file {path.name} -->\n\n```{LANGUAGES[path.suffix]}\n{path.read_text()}```\n\n<!-- /file -->"

    text = (DOCS / page).read_text()
    text = re.sub(r"<!-- (options|errors) -->.*?<!-- /\1 -->", table, text, flags=re.DOTALL)
    return re.sub(r"<!-- file (\S+) -->.*?<!-- /file -->", file, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(filled(page))
