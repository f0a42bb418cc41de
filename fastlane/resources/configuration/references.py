"""``{ env = "X" }``, ``{ file = "/run/secrets/x" }``, ``{ secret = "X" }``: what may stand wherever a text may."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["FORMS", "References", "is_reference", "is_unresolved", "mentions_unresolved", "unresolved"]

FORMS = ("env", "file", "secret")
"""Exactly one of them is the key of a reference."""

_UNRESOLVED = ("<env ", "<file ", "<secret ", "<provider ")
"""How what `unresolved` answers begins."""

LONGEST = 1 << 20
"""Bytes of a file that is referred to: more is no password, and no URL."""


def is_reference(value: object) -> bool:
    """Whether ``value`` is a table that can only be meant as a reference."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in FORMS


def unresolved(name: str, form: str = "secret") -> str:
    """What stands for a value that is referred to while nobody has it."""
    return f"<{form} {name}>"


def is_unresolved(value: str) -> bool:
    """Whether ``value`` is what `unresolved` answers."""
    return value.startswith(_UNRESOLVED) and value.endswith(">")


def mentions_unresolved(text: str) -> bool:
    """Whether what `unresolved` answers stands in ``text``: then it says nothing about the value itself."""
    return any(beginning in text for beginning in _UNRESOLVED)


class References:
    """Resolves references, and notes which secrets were asked for.

    Args:
        environment: where ``env`` looks.
        directory: where a relative ``file`` begins: that of the configuration file.
        secrets: the value of a secret; None: `unresolved` stands for it.
        allow_secrets: False in ``[secrets]`` itself.

    Attributes:
        names: of the secrets that were referred to.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: Path,
        secrets: Callable[[str], str] | None = None,
        *,
        allow_secrets: bool = True,
    ) -> None:
        self._environment = environment
        self._directory = directory
        self._secrets = secrets
        self._allow_secrets = allow_secrets
        self.names: set[str] = set()

    def resolve(self, reference: Mapping[str, object]) -> str:
        """The text that is referred to.

        Raises:
            ValueError: it can't be had; the text says why.
        """
        ((form, name),) = reference.items()
        if not isinstance(name, str) or not name:
            raise ValueError(f'expected {{ {form} = "NAME" }}, got {dict(reference)!r}')
        if form == "env":
            return self._variable(name)
        return self._file(name) if form == "file" else self._secret(name)

    def _variable(self, name: str) -> str:
        value = self._environment.get(name)
        if value is None:
            raise ValueError(f"the variable {name} is not set")
        if not value:
            raise ValueError(f"the variable {name} is empty")
        return value

    def _file(self, name: str) -> str:
        path = self._directory / name
        try:
            with path.open("rb") as file:
                content = file.read(LONGEST + 1)
            text = content.decode()
        except OSError as error:
            raise ValueError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no UTF-8 text") from None
        if len(content) > LONGEST:
            raise ValueError(f"{path} is larger than 1 MiB, which is no value")
        text = without_line_end(text)
        if not text:
            raise ValueError(f"{path} is empty")
        return text

    def _secret(self, name: str) -> str:
        if not self._allow_secrets:
            raise ValueError("what says where secrets are can't be a secret itself: write { env = … } or { file = … }")
        self.names.add(name)
        if self._secrets is None:
            return unresolved(name)
        try:
            return self._secrets(name)
        except (LookupError, ValueError, RuntimeError):
            raise ValueError(f"the secret {name} was not found") from None


def without_line_end(text: str) -> str:
    """Without one line end, which editors and ``echo`` add to a file."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
