"""What one option is, and how its value is read from a text or a TOML value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "Described",
    "Option",
    "names",
    "one_of",
    "permissions",
    "positive",
    "some_of",
    "switch",
    "text",
    "url_path",
    "whole",
    "workers",
]

_FILELESS = frozenset({"config"})
_PATH_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~")


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.

    Attributes:
        name: the field of `ServeOptions`; also the key in ``[serve]``.
        help: one sentence for people.
        section: the heading under which ``--help`` and the docs list it.
        metavar: what the value is, such as ``DURATION``; empty for a switch.
        default: the value where nothing is given.
        read: from a text or a TOML value to the field's value; a ValueError says what was expected.
    """

    name: str
    help: str
    section: str
    metavar: str
    default: object
    read: Callable[[object], object]

    @property
    def flag(self) -> str:
        """``--max-requests``."""
        return "--" + self.name.replace("_", "-")

    @property
    def negative_flag(self) -> str:
        """``--no-access-log``; empty where the option is no switch."""
        return "" if self.metavar else "--no-" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """``FASTLANE_MAX_REQUESTS``."""
        return "FASTLANE_" + self.name.upper()

    @property
    def key(self) -> str | None:
        """The key in ``[serve]``; None for what makes no sense inside a file."""
        return None if self.name in _FILELESS else self.name

    @property
    def shown_default(self) -> str:
        """The default as one would type it."""
        if self.default is None:
            return ""
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        if isinstance(self.default, tuple | list):
            return ",".join(self.default)
        if self.name == "uds_permissions":
            return f"{self.default:04o}"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


class Described:
    """The part of an `Option` that stands beside the field's type."""

    def __init__(self, section: str, metavar: str, read: Callable[[object], object], explanation: str) -> None:
        self.section = section
        self.metavar = metavar
        self.read = read
        self.help = explanation


def text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("a text that is not empty")


def url_path(value: object) -> str:
    """As a request line has it: what would need percent-encoding is refused."""
    if isinstance(value, str) and value.startswith("/") and not set(value) - _PATH_LETTERS:
        return value
    raise ValueError("a path such as /healthz")


def switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "on", "yes"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "off", "no"):
        return False
    raise ValueError("on or off")


def whole(least: int, most: int | None = None) -> Callable[[object], int]:
    expected = f"a whole number from {least} to {most}" if most is not None else f"a whole number from {least}"

    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value >= least
            and (most is None or value <= most)
        ):
            return value
        raise ValueError(expected)

    return read


def positive(read: Callable[[object], float]) -> Callable[[object], float]:
    def above_zero(value: object) -> float:
        number = read(value)
        if number <= 0:
            raise ValueError("more than zero: leave it out for no limit")
        return number

    return above_zero


def one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        raise ValueError("one of " + ", ".join(choices))

    return read


def names(value: object) -> tuple[str, ...]:
    """A list as TOML has it, or a text with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, list | tuple) and all(isinstance(item, str) and item.strip() for item in items) and items:
        return tuple(dict.fromkeys(item.strip() for item in items))
    raise ValueError("names, separated by commas")


def some_of(*choices: str) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        try:
            chosen = {name.lower() for name in names(value)}
        except ValueError:
            chosen = {""}
        if chosen <= set(choices):
            return tuple(choice for choice in choices if choice in chosen)
        raise ValueError("some of " + ", ".join(choices) + ", separated by commas")

    return read


def workers(value: object) -> object:
    if value == "auto":
        return "auto"
    try:
        return whole(1, 1024)(value)
    except ValueError:
        raise ValueError("auto, or a whole number from 1 to 1024") from None


def permissions(value: object) -> int:
    """Permissions are octal, whoever writes them: a text ``660``, or TOML's ``0o660``."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777:
        return value
    if isinstance(value, str):
        digits = value.removeprefix("0o")
        if digits and len(digits) <= 4 and set(digits) <= set("01234567") and int(digits, 8) <= 0o777:
            return int(digits, 8)
    raise ValueError("octal permissions, such as 0660")
