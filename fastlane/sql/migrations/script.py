"""The text of a migration, as far as it must be understood: its statements, and whether one ends a transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["NO_TRANSACTION", "split_statements", "transaction_control"]

NO_TRANSACTION = re.compile(r"\A\s*--\s*fastlane:\s*no-transaction\s*$", re.MULTILINE)
"""The first line of a file that runs outside a transaction."""

# What a semicolon may stand in without ending a statement. A dollar quote starts no name: a$1$ is none.
_TOKEN = re.compile(
    r"""
      (?P<line> --[^\n]*)
    | (?P<block> /\*)
    | (?P<escaped> \b[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<text> '(?:[^']|'')*')
    | (?P<name> "(?:[^"]|"")*")
    | (?P<dollar> (?<![\w$])\$(?P<tag>[A-Za-z_\x80-\U0010ffff][\w]*)?\$)
    | (?P<end> ;)
    """,
    re.VERBOSE | re.DOTALL,
)
_BODY = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)
_CONTROL = re.compile(
    r"(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK(?!\s+TO)|ABORT|PREPARE\s+TRANSACTION)\b", re.IGNORECASE
)


def split_statements(text: str) -> list[str]:
    """The statements of a script, without comments at their ends; empty ones are left out.

    A script with a body in ``BEGIN ATOMIC`` is one statement: where such a body ends takes a whole parser.
    """
    if _BODY.search(text):
        return [text.strip()]
    return [statement for piece in _pieces(text) if (statement := piece.strip())]


def _pieces(text: str) -> Iterator[str]:
    piece: list[str] = []
    position = 0
    while (match := _TOKEN.search(text, position)) is not None:
        piece.append(text[position : match.start()])
        kind, end = match.lastgroup, match.end()
        if kind == "end":
            yield "".join(piece)
            piece = []
        elif kind == "block":
            end = _end_of_comment(text, end)
        elif match["dollar"] is not None:
            closing = text.find(match["dollar"], end)
            end = len(text) if closing < 0 else closing + len(match["dollar"])
            piece.append(text[match.start() : end])
        elif kind != "line":
            piece.append(match[0])
        position = end
    piece.append(text[position:])
    yield "".join(piece)


def _end_of_comment(text: str, position: int) -> int:
    """Behind the comment whose opening is just before ``position``: comments nest."""
    depth = 1
    while depth:
        opening, closing = text.find("/*", position), text.find("*/", position)
        if closing < 0:
            return len(text)
        if 0 <= opening < closing:
            depth, position = depth + 1, opening + 2
        else:
            depth, position = depth - 1, closing + 2
    return position


def transaction_control(text: str) -> str | None:
    """The first statement that begins or ends a transaction, in capitals; None where there is none."""
    if _BODY.search(text):
        return None
    for statement in split_statements(text):
        match = _CONTROL.match(statement)
        if match is not None:
            return " ".join(match[1].upper().split())
    return None
