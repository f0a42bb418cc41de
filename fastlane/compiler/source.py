"""Writing Python source: lines with indentation, names that never collide, and a place in ``linecache``."""

from __future__ import annotations

import keyword
import linecache
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Names", "SourceWriter", "load_function"]

_NO_IDENTIFIER = re.compile(r"\W+", re.ASCII)


class Names:
    """The names of one generated module: its globals with their values, and its locals.

    One pool for both, so that a parameter called ``encode`` can't hide the encoder.
    """

    __slots__ = ("_taken", "namespace")

    def __init__(self, reserved: frozenset[str]) -> None:
        self._taken = {*reserved, *keyword.kwlist, *keyword.softkwlist}
        self.namespace: dict[str, Any] = {}

    def take(self, wanted: str) -> str:
        """A free identifier like ``wanted``."""
        base = _NO_IDENTIFIER.sub("_", wanted).strip("_") or "value"
        if base[0].isdigit():
            base = f"_{base}"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    def bind(self, wanted: str, value: Any) -> str:
        """A global of the generated module that holds ``value``; one for each object."""
        for name, known in self.namespace.items():
            if known is value:
                return name
        name = self.take(wanted)
        self.namespace[name] = value
        return name


class SourceWriter:
    """Lines of source, four blanks to a level."""

    __slots__ = ("_lines", "_prefix")

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._prefix = ""

    def line(self, text: str) -> None:
        """One line at the present level."""
        self._lines.append(f"{self._prefix}{text}\n")

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """``opening``, and what is written inside the ``with`` one level deeper."""
        self.line(opening)
        self._prefix += "    "
        yield
        self._prefix = self._prefix[:-4]

    @property
    def count(self) -> int:
        """Lines so far, to see whether something was written."""
        return len(self._lines)

    def text(self) -> str:
        """All of it."""
        return "".join(self._lines)


def load_function(source: str, name: str, filename: str, namespace: dict[str, Any]) -> Any:
    """Compile ``source`` and answer its function ``name``. Tracebacks, profilers and debuggers see the lines.

    Two different sources never share a file name: the second gets a number.
    """
    lines = source.splitlines(keepends=True)
    unique, number = filename, 1
    while unique in linecache.cache and linecache.cache[unique][2] != lines:  # type: ignore[misc]
        number += 1
        unique = f"{filename[:-1]} #{number}>"
    # No modification time: linecache.checkcache leaves such entries alone.
    linecache.cache[unique] = (len(source), None, lines, unique)
    module = dict(namespace)
    exec(compile(source, unique, "exec"), module)
    return module[name]
