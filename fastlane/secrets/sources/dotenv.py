"""Secrets in a dotenv file: lines of ``NAME=value``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fastlane.resources.configuration import SecretsOptions
from fastlane.secrets.sources.environment import EnvironmentSource
from fastlane.secrets.sources.source import Reading, Source

__all__ = ["DotenvSource", "parse_dotenv"]

DEFAULT = ".env"

_LINE = re.compile(
    r"""
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_.-]*) [ \t]* = [ \t]*
    (?:
        ' (?P<single> (?:[^'\\]|\\.)* ) '            # as it is, but for \' and \\
      | " (?P<double> (?:[^"\\]|\\.)* ) "            # with the escapes of C
      |   (?P<bare> [^'"\r\n][^\r\n]*? | )           # up to a comment
    )
    [ \t]* (?:(?<=[ \t])\#[^\r\n]*)? (?=\r|\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


class DotenvSource(Source):
    """A dotenv file. A variable of the environment beats its line, as with python-dotenv's ``load_dotenv``.

    Args:
        optional: whether the file may be missing.
    """

    def __init__(self, options: SecretsOptions, environment: Mapping[str, str], *, optional: bool = False) -> None:
        super().__init__(options)
        self._path = Path(options.path or DEFAULT)
        self._optional = optional
        self._environment = EnvironmentSource(options, environment)

    def check(self) -> Sequence[str]:
        if not self._optional and not self._path.is_file():
            return (f"[secrets] path: there is no file {str(self._path)!r}\n    mend: create it, or correct the path",)
        return ()

    async def read(self, names: Sequence[str]) -> Reading:
        found, missing = await self._environment.read(names)
        lines, problem = self._lines()
        for name in list(missing):
            value = lines.get(self.called(name))
            if value:
                found[name] = value
                del missing[name]
            else:
                missing[name] = problem or f"neither {self._path} nor the environment has {self.called(name)}"
        return Reading(found, missing)

    def fingerprint(self, names: Sequence[str]) -> object:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def place(self, name: str) -> str:
        return f"{self._path} or variable {self.called(name)}"

    def mend(self, name: str) -> str:
        return f"add the line {self.called(name)}=… to {self._path}, or set the variable"

    def _lines(self) -> tuple[dict[str, str], str]:
        try:
            text = self._path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return {}, ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            return {}, f"{self._path} can't be read: {reason}"
        try:
            return dict(parse_dotenv(text)), ""
        except ValueError as error:
            return {}, f"{self._path}: {error}"


def parse_dotenv(text: str) -> Iterator[tuple[str, str]]:
    """Names and values, in order. ``#`` begins a comment at the start of a line, or behind white space.

    ``export`` before a name is passed over. A value in double quotes may have escapes (``\\n``) and several lines, in
    single quotes only ``\\'`` and ``\\\\``. Nothing is interpolated: a ``$`` is a ``$``.

    Raises:
        ValueError: a line is none of this. Its number is told, nothing of what is in it.
    """
    position = 0
    while position < len(text):
        if text[position] in "\r\n \t":
            position += 1
            continue
        if text[position] == "#":
            end = re.compile(r"[\r\n]|\Z").search(text, position)
            assert end is not None
            position = end.start()
            continue
        match = _LINE.match(text, position)
        if match is None:
            number = text.count("\n", 0, position) + 1
            raise ValueError(f"line {number} is not NAME=value, or a quote is left open")
        yield match["name"], _value(match)
        position = match.end()


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return re.sub(r"\\(['\\])", r"\1", match["single"])
    if match["double"] is not None:
        return re.sub(
            r"\\(.)",
            lambda found: _ESCAPES.get(found[1], found[0 if found[1] not in "\"\\$'" else 1]),
            match["double"],
            flags=re.DOTALL,
        )
    return match["bare"].rstrip(" \t")
