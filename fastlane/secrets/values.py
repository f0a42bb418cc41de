"""The values of secrets in this process: what was resolved, and what tests put in front of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from fastlane.redaction import hide, unhide

__all__ = ["Layer", "Values", "values"]

_KEPT = 3
"""Values of one secret that stay hidden after it was rotated: they may still be valid, and in flight."""


class Layer:
    """What one service resolved. Its values are hidden from every log, and stay it when the layer is gone: the error
    that ended an app is written after everything was closed.

    Attributes:
        current: values by name.
        unhidable: names whose values are too short to be hidden.
    """

    def __init__(self, found: Mapping[str, str]) -> None:
        self.current = dict(found)
        self._hidden: dict[str, list[str]] = {}
        self.unhidable = [name for name, value in found.items() if not self._hide(name, value)]

    def replace(self, name: str, value: str) -> None:
        """A new value of a secret. The last ones stay hidden."""
        self._hide(name, value)
        self.current[name] = value

    def _hide(self, name: str, value: str) -> bool:
        hidden = self._hidden.setdefault(name, [])
        hidden.append(value)
        if len(hidden) > _KEPT + 1:
            unhide(name, hidden.pop(0))
        return hide(name, value)


class Values:
    """Layers of resolved values, the newest in front, and overrides before all of them. Safe in threads.

    One store for the process, not one for each event loop: a plain ``def`` handler runs in a thread, where none runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced, never changed, so that reading needs no lock.
        self._overrides: dict[str, tuple[tuple[object, str], ...]] = {}
        self._layers: tuple[Layer, ...] = ()

    def get(self, name: str) -> str | None:
        """The value in force; None where there is none."""
        overrides = self._overrides.get(name)
        if overrides:
            return overrides[-1][1]
        for layer in self._layers:
            value = layer.current.get(name)
            if value is not None:
                return value
        return None

    def push(self, layer: Layer) -> None:
        """Put a layer in front."""
        with self._lock:
            self._layers = (layer, *self._layers)

    def remove(self, layer: Layer) -> None:
        """Take a layer away, wherever it stands."""
        with self._lock:
            self._layers = tuple(other for other in self._layers if other is not layer)

    def override(self, name: str, value: str) -> object:
        """Put ``value`` before everything else, until `restore` gets what this answers."""
        token = object()
        hide(name, value)
        with self._lock:
            self._overrides = {**self._overrides, name: (*self._overrides.get(name, ()), (token, value))}
        return token

    def restore(self, name: str, token: object) -> None:
        """Undo one `override`, in any order."""
        with self._lock:
            before = self._overrides.get(name, ())
            left = tuple(entry for entry in before if entry[0] is not token)
            others = {other: entries for other, entries in self._overrides.items() if other != name}
            self._overrides = {**others, name: left} if left else others
        for entry in before:
            if entry[0] is token:
                unhide(name, entry[1])


values = Values()
"""The process's own."""
