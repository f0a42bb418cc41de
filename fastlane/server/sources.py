"""Where an option can be given: a flag, which beats the environment, which beats the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fastlane.errors import ConfigurationError
from fastlane.server.option import Option

__all__ = ["shown", "sources", "unknown_keys"]

_OTHER_VARIABLES = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
"""Names that other servers taught people; our own name beats them."""


def sources(
    option: Option,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    file: Mapping[str, object],
    file_name: str,
) -> Iterator[tuple[str, object]]:
    """Where the option is given, the strongest first.

    Raises:
        ConfigurationError: the file refers to a variable that is not there.
    """
    if flags.get(option.name) is not None:
        yield option.flag, flags[option.name]
    for variable in (option.variable, _OTHER_VARIABLES.get(option.name, "")):
        if environment.get(variable):
            yield variable, environment[variable]
    if option.name in file:
        where = f"{file_name}: serve.{option.name}"
        value = file[option.name]
        if isinstance(value, Mapping):
            name = value.get("env")
            if not isinstance(name, str) or len(value) != 1:
                raise ConfigurationError(f'{where}: expected a value or {{ env = "NAME" }}, got {dict(value)!r}')
            if name not in environment:
                raise ConfigurationError(f"{where}: the variable {name} is not set")
            value = environment[name]
        yield where, value


def unknown_keys(file: Mapping[str, object], options: Iterable[Option], file_name: str) -> Iterator[str]:
    """A text for each key that is no option's."""
    known = [option.key for option in options if option.key is not None]
    for key in file:
        if key not in known:
            import difflib  # here: only a mistake needs it

            near = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            yield f"{file_name}: serve.{key}: there is no such option.{meant}"


def shown(option: Option, value: object) -> str:
    """The value as an error may show it."""
    return "a value that is not shown" if option.name == "keyfile_password" else repr(value)
