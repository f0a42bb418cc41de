"""``RESULTS.md``: a section for each benchmark, which only its own run writes."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["put_section", "with_section"]


def with_section(page: str, name: str, text: str) -> str:
    """The page, with ``text`` as its section of that name; a new one goes to the end."""
    section = f"<!-- section: {name} -->\n{text.strip()}\n<!-- end: {name} -->"
    found = re.compile(rf"<!-- section: {re.escape(name)} -->\n.*?<!-- end: {re.escape(name)} -->", re.DOTALL)
    if found.search(page):
        return found.sub(lambda _: section, page, count=1)
    before = f"{page.rstrip()}\n\n" if page.strip() else ""
    return f"{before}{section}\n"


def put_section(path: Path, name: str, text: str) -> None:
    """The same for a file, which is made where it is missing."""
    page = path.read_text() if path.exists() else ""
    path.write_text(with_section(page, name, text))
