"""The values that nothing may show, and what is written in their place."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import NamedTuple

__all__ = ["SHORTEST", "Redactor", "redactor"]

SHORTEST = 6
"""Characters: a shorter text stands in too much that is no secret."""

_GRAM = 8
"""Characters of a sample, see `_Table`."""

_LONG = 16
"""From this length on a form is looked for by samples."""

_NESTED = 3
"""How often a text is decoded, at most: a URL in a query of a URL in a query."""

_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_BREAK = re.compile(r'([\s"<>\\]+)')
"""What no URL has."""
_SHOWN = "!#$&'()*+,/:;=?@[]|"


class _Table(NamedTuple):
    """What is looked for, made once for many looks.

    Attributes:
        forms: each with what is written instead, the longest first.
        short: the forms that are shorter than `_LONG`, which are looked for one by one.
        grams: every part of `_GRAM` characters that a longer form has.
        stride: a longer form, wherever it stands, has a gram that begins at a multiple of it.
    """

    # PERF: with 50 forms (ten secrets), one `in` each is 10 µs for a line of 200 characters; six samples and one look
    # into the set are 1 µs, however many secrets there are. An alternation of regular expressions is slower than both.
    forms: tuple[tuple[str, str], ...] = ()
    short: tuple[str, ...] = ()
    grams: frozenset[str] = frozenset()
    stride: int = 1

    def may_be_in(self, text: str) -> bool:
        """False where no form is in ``text``; True where one may be."""
        for form in self.short:
            if form in text:
                return True
        if not self.grams:
            return False
        samples = [text[start : start + _GRAM] for start in range(0, len(text) - _GRAM + 1, self.stride)]
        return not self.grams.isdisjoint(samples)

    def replaced(self, text: str) -> str:
        """``text`` with what is written instead of each form."""
        if self.may_be_in(text):
            for form, shown in self.forms:
                if form in text:
                    text = text.replace(form, shown)
        return text

    def decoded(self, part: str) -> str:
        """``part``, without blanks, where what is percent-encoded in it hides nothing; else what it stands for.

        Each encoder leaves other characters as they are, and a URL inside a URL is encoded twice: there are too many
        spellings to look for.
        """
        from urllib.parse import quote, unquote

        for plain in dict.fromkeys((part, part.replace("+", " "))):
            for _ in range(_NESTED):
                plain = unquote(plain)
                if (shown := self.replaced(plain)) != plain:
                    # Encoded again: no line end and no quote comes out of what a client has sent.
                    return quote(shown, safe=_SHOWN, errors="replace")
                if "%" not in plain:
                    break
        return part


class Redactor:
    """Replaces hidden values in texts. Safe in threads.

    A value stands as often as it was hidden, and is forgotten when it was unhidden as often.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._written: dict[tuple[str, str], list[str]] = {}
        self._table = _Table()  # replaced as a whole, so that readers need no lock

    @property
    def is_active(self) -> bool:
        """Whether anything is hidden."""
        return bool(self._table.forms)

    def hide(self, name: str, value: str) -> bool:
        """Write ``***name***`` wherever ``value`` would stand. False where it is too short for that."""
        from fastlane.redaction.forms import forms_of  # its encoders are needed by nobody who hides nothing

        key = name, value
        with self._lock:
            self._counts[key] += 1
            if self._counts[key] == 1:
                self._written[key] = forms_of(value) if len(value) >= SHORTEST else []
                self._prepare()
            return bool(self._written[key])

    def unhide(self, name: str, value: str) -> None:
        """Undo one `hide`."""
        key = name, value
        with self._lock:
            self._counts[key] -= 1
            if self._counts[key] <= 0:
                del self._counts[key]
                self._written.pop(key, None)
                self._prepare()

    def text(self, text: str) -> str:
        """``text`` without hidden values."""
        table = self._table
        if not table.forms:
            return text
        text = table.replaced(text)
        if "%" in text and _ENCODED.search(text) is not None:
            text = "".join(table.decoded(part) if "%" in part else part for part in _BREAK.split(text))
        return text

    def octets(self, data: bytes) -> bytes:
        """The same for encoded text."""
        if not self._table.forms:
            return data
        text = data.decode("utf-8", "surrogateescape")
        redacted = self.text(text)
        return data if redacted == text else redacted.encode("utf-8", "surrogateescape")

    def _prepare(self) -> None:
        forms = {form: f"***{name}***" for (name, _), forms in sorted(self._written.items()) for form in forms}
        long = [form for form in forms if len(form) >= _LONG]
        self._table = _Table(
            forms=tuple(sorted(forms.items(), key=lambda item: (-len(item[0]), item[0]))),
            short=tuple(form for form in forms if len(form) < _LONG),
            grams=frozenset(form[at : at + _GRAM] for form in long for at in range(len(form) - _GRAM + 1)),
            stride=min(map(len, long), default=_GRAM) - _GRAM + 1,
        )


redactor = Redactor()
"""The process's own."""
