"""Where secrets come from: one contract, a module for each provider."""

from __future__ import annotations

import abc
import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from fastlane.resources.configuration import SecretsOptions

__all__ = ["FAILED_READ", "MissingLibrary", "Reading", "Source", "Unreachable", "inside", "library"]

FAILED_READ = "it can't be read"


class Unreachable(Exception):
    """The provider did not answer. It may later."""


class MissingLibrary(Exception):
    """A client library is not installed. The text says which extra has it."""


class Reading(NamedTuple):
    """What was found.

    Attributes:
        values: by the secret's own name.
        missing: for every other name that was asked for, one sentence: where it was looked for and why it is not there.
    """

    values: dict[str, str]
    missing: dict[str, str]


class Source(abc.ABC):
    """A provider of secrets.

    Attributes:
        default_refresh: seconds after which values are read again, where nothing is configured; None: never.
    """

    default_refresh: ClassVar[float | None] = None

    def __init__(self, options: SecretsOptions) -> None:
        self.options = options

    def check(self) -> Sequence[str]:
        """What can't work, before anything is read. Imports client libraries."""
        return ()

    @abc.abstractmethod
    async def read(self, names: Sequence[str]) -> Reading:
        """Look up secrets.

        Raises:
            Unreachable: nothing can be said about them now.
        """

    def fingerprint(self, names: Sequence[str]) -> object:
        """Something that is cheap to find, and another when a value has changed; None: nothing tells."""
        return None

    @abc.abstractmethod
    def place(self, name: str) -> str:
        """Where a secret is looked for, for people."""

    @abc.abstractmethod
    def mend(self, name: str) -> str:
        """How to put it there."""

    def called(self, name: str) -> str:
        """What the secret is called at the provider, but for a path inside it (``name#key``)."""
        return self._named(name).partition("#")[0]

    def key(self, name: str) -> str:
        """The key inside the value, which is a JSON object then; empty where the value is the secret."""
        return self._named(name).partition("#")[2]

    def _reading(self, names: Sequence[str], answers: Mapping[str, str | Exception], service: str) -> Reading:
        """The values of ``names``, of what ``service`` has answered for each name there, or why it has none."""
        values: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in names:
            answer = answers[self.called(name)]
            try:
                if isinstance(answer, Exception):
                    raise answer
                values[name] = _not_empty(inside(answer, self.key(name)))
            except ValueError as error:
                missing[name] = f"{service}, {self.called(name)!r}: {error}"
        return Reading(values, missing)

    def _named(self, name: str) -> str:
        return self.options.names.get(name) or self.options.prefix + name


def inside(text: str, key: str) -> str:
    """The member ``key`` of a JSON object; the whole text where ``key`` is empty.

    Raises:
        ValueError: there is none; the text has nothing of the value.
    """
    if not key:
        return text
    try:
        document = json.loads(text)
    except ValueError:
        raise ValueError(f"it is no JSON, so it has no key {key!r}") from None
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"it has no text under the key {key!r}")
    return value


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("it is empty")
    return value


def library(module: str, extra: str) -> Any:
    """A client library's module, imported when it is configured.

    Raises:
        MissingLibrary: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingLibrary(
            f"[secrets] provider = {extra!r} needs a library that is not installed\n"
            f'    mend: pip install "fastlane-asgi[{extra}]"'
        ) from None
