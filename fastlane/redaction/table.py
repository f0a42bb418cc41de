"""The values that nothing may show, and what is written in their place."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["SHORTEST", "Redactor", "redactor"]

SHORTEST = 6
"""Characters: a shorter text stands in too much that is no secret."""


class Redactor:
    """Replaces hidden values in texts. Safe in threads.

    A value stands as often as it was hidden, and is forgotten when it was unhidden as often.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._written: dict[tuple[str, str], list[str]] = {}
        # PERF: one `in` for each form is 40 ns for a line of 200 characters; an alternation of regular expressions
        # tries each of them at each character. Replaced as a whole, so that readers need no lock.
        self._forms: tuple[tuple[str, str], ...] = ()
        self._byte_forms: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether anything is hidden."""
        return bool(self._forms)

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
        for form, shown in self._forms:
            if form in text:
                text = text.replace(form, shown)
        return text

    def octets(self, data: bytes) -> bytes:
        """The same for encoded text."""
        for form, shown in self._byte_forms:
            if form in data:
                data = data.replace(form, shown)
        return data

    def _prepare(self) -> None:
        forms = {form: f"***{name}***" for (name, _), forms in sorted(self._written.items()) for form in forms}
        ordered = sorted(forms.items(), key=lambda item: (-len(item[0]), item[0]))
        self._byte_forms = tuple(
            (form.encode("utf-8", "surrogatepass"), shown.encode("utf-8", "surrogatepass")) for form, shown in ordered
        )
        self._forms = tuple(ordered)


redactor = Redactor()
"""The process's own."""
