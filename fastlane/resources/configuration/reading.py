"""The configuration file: found by the mode of the process, read, and turned into `ResourceConfiguration`.

load ─► secrets_options, referenced_secrets ─► (secrets are resolved) ─► resolve
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from fastlane.errors import ConfigurationError
from fastlane.resources.configuration.conversion import Conversion, did_you_mean, dotted
from fastlane.resources.configuration.document import ResourceConfiguration
from fastlane.resources.configuration.hiding import hide_values
from fastlane.resources.configuration.references import (
    References,
    is_unresolved,
    mentions_unresolved,
    unresolved,
)
from fastlane.resources.configuration.secrets import SecretsOptions
from fastlane.resources.surroundings import Surroundings

__all__ = [
    "DEFAULT",
    "DEV_DEFAULT",
    "Examined",
    "Loaded",
    "examine",
    "load",
    "located",
    "referenced_secrets",
    "resolve",
    "secrets_options",
]

DEFAULT = "fastlane.toml"
DEV_DEFAULT = "fastlane.dev.toml"
_SERVE = "serve"
"""The server's own table: `fastlane.server.options` reads it, nobody here looks into it."""

_LOCAL = "local"
"""The provider that needs no table."""


class Loaded(NamedTuple):
    """A file that was read, or the empty one.

    Attributes:
        name: what errors call it: the path as it was asked for.
        path: absolute; None where there is no file.
        document: the whole of it, ``[serve]`` too, with no reference resolved.
        environment: where ``{ env = … }`` looks.
    """

    name: str
    path: str | None
    document: Mapping[str, object]
    environment: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """Where a relative ``{ file = … }`` begins."""
        return Path(self.path).parent if self.path else Path.cwd()


class Examined(NamedTuple):
    """What a file says, as far as it can be told.

    Attributes:
        configuration: with ``<env X>`` and its like for what can't be had, and defaults for the tables that failed.
        mistakes: lines, see `resolve`.
        failed: names of tables with a mistake that leaves nothing of them.
    """

    configuration: ResourceConfiguration
    mistakes: list[str]
    failed: frozenset[str]

    def mistakes_of(self, service: str, check: Callable[[], Iterable[str]]) -> list[str]:
        """What the service of this name finds wrong, without what follows from mistakes that are told already."""
        tables = {service, "providers"} if service == "pubsub" else {service}
        if tables & self.failed:
            return []
        return [mistake for mistake in check() if not mentions_unresolved(mistake)]


def load(surroundings: Surroundings, environment: Mapping[str, str] | None = None) -> Loaded:
    """Find and read the file of the mode.

    ``serve`` and ``script``: ``surroundings.config``, else ``FASTLANE_CONFIG``, else ``fastlane.toml`` of the working
    directory. ``dev``: ``surroundings.config``, else ``fastlane.dev.toml``, never ``FASTLANE_CONFIG``: a laptop must
    not drain production's queues. ``test``: no file. The last name of each may be missing, then the document is empty.

    Raises:
        ConfigurationError: it was asked for and is not there, can't be read, or is no TOML.
    """
    environment = os.environ if environment is None else environment
    mode = surroundings.mode
    default = DEV_DEFAULT if mode == "dev" else DEFAULT
    if mode == "test":
        return Loaded(default, None, {}, environment)
    source, name = "--config", surroundings.config or ""
    if not name and mode != "dev":
        source, name = "FASTLANE_CONFIG", environment.get("FASTLANE_CONFIG") or ""
    if not name:
        if not os.path.isfile(default):
            return Loaded(default, None, {}, environment)
        name = default
    return Loaded(name, os.path.abspath(name), _read(name, source), environment)


def resolve(loaded: Loaded, secrets: Callable[[str], str] | None = None) -> ResourceConfiguration:
    """The configuration with every reference resolved. Its passwords and keys are hidden from logs from then on.

    Args:
        loaded: see `load`.
        secrets: the value of a secret that ``{ secret = "X" }`` refers to; it may raise LookupError or RuntimeError.
            None: ``<secret X>`` stands for it, which is enough to check everything else before secrets are known.

    Raises:
        ConfigurationError: every mistake, a line each: the file, the path of the key, what was expected and what is
            there.
    """
    examined = examine(loaded, secrets)
    if examined.mistakes:
        raise ConfigurationError("\n".join(examined.mistakes))
    hide_values(examined.configuration)
    return examined.configuration


def examine(loaded: Loaded, secrets: Callable[[str], str] | None = None) -> Examined:
    """As `resolve`, without an end at the first kind of mistake: what is known is enough to look for others."""
    conversion = _conversion(loaded, secrets)
    options = _secrets_options(loaded, conversion)
    known = _tables()
    values: dict[str, Any] = {} if options is None else {"secrets": options}
    failed = set() if options is not None else {"secrets"}
    for key, value in loaded.document.items():
        if key not in known:
            known_names = [*known, _SERVE]
            if key != _SERVE:
                expected = ", ".join(f"[{name}]" for name in known_names)
                hint = did_you_mean(key, known_names)
                conversion.add((key,), f"there is no such table{hint or f'. Expected {expected}.'}")
            elif not isinstance(value, dict):
                conversion.add((key,), f"expected a table, [{key}], got {value!r}")
        elif key != "secrets":
            found = conversion.convert(known[key], value, (key,))
            if found is None:
                failed.add(key)
            else:
                values[key] = found
    if not failed & {"providers", "pubsub"}:  # a mistake in there was noted, and may explain what is missing
        _check_names(values, conversion)
    return Examined(ResourceConfiguration(**values), list(_lines(loaded.name, conversion.mistakes)), frozenset(failed))


def located(name: str, mistake: str) -> str:
    """A service's ``mistake`` with the file before it, where it begins with a table: the service does not know it."""
    is_of_file = mistake.startswith(("[", *(f"{table}." for table in _tables())))
    return f"{name}: {mistake}" if name and is_of_file else mistake


def secrets_options(loaded: Loaded) -> SecretsOptions:
    """``[secrets]`` alone, which is resolved first: it may refer to variables and files, not to secrets.

    Raises:
        ConfigurationError: see `resolve`.
    """
    conversion = _conversion(loaded, None)
    options = _secrets_options(loaded, conversion)
    if conversion.mistakes or options is None:
        raise ConfigurationError("\n".join(_lines(loaded.name, conversion.mistakes)))
    return options


def referenced_secrets(loaded: Loaded) -> frozenset[str]:
    """The names behind every ``{ secret = "X" }``: they count as declared. Mistakes are passed over."""
    references = References(loaded.environment, loaded.directory)
    conversion = Conversion(references)
    document = {key: value for key, value in loaded.document.items() if key in _tables() and key != "secrets"}
    conversion.convert(ResourceConfiguration, document, ())
    return frozenset(references.names)


def _read(name: str, source: str) -> dict[str, object]:
    import tomllib  # 20 ms, and most starts have no file

    try:
        with open(name, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigurationError(f"{source}: there is no file {name!r}") from None
    except OSError as error:
        raise ConfigurationError(f"{source}: {name} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: this is no TOML: {error}") from None


def _conversion(loaded: Loaded, secrets: Callable[[str], str] | None) -> Conversion:
    return Conversion(References(loaded.environment, loaded.directory, secrets))


def _secrets_options(loaded: Loaded, conversion: Conversion) -> SecretsOptions | None:
    own = Conversion(References(loaded.environment, loaded.directory, allow_secrets=False))
    found = own.convert(SecretsOptions, loaded.document.get("secrets", {}), ("secrets",))
    conversion.mistakes += own.mistakes
    return found if isinstance(found, SecretsOptions) else None


def _tables() -> dict[str, Any]:
    return get_type_hints(ResourceConfiguration, include_extras=True)


def _check_names(values: dict[str, Any], conversion: Conversion) -> None:
    """A provider that a topic names must be there. Where it is not, something else stands there from here on."""
    providers, pubsub = values.get("providers", {}), values.get("pubsub")
    if pubsub is None:
        return

    def checked(path: tuple[str, ...], options: Any) -> Any:
        provider = options.provider
        if provider is None or provider == _LOCAL or provider in providers or is_unresolved(provider):
            return options
        known = [*providers, _LOCAL]
        conversion.add(path, f"there is no provider {provider!r}{did_you_mean(provider, known)}{_mend(provider)}")
        return msgspec.structs.replace(options, provider=unresolved(provider, "provider"))

    pubsub = checked(("pubsub", "provider"), pubsub)
    topics = {name: checked(("pubsub", "topics", name, "provider"), topic) for name, topic in pubsub.topics.items()}
    values["pubsub"] = msgspec.structs.replace(pubsub, topics=topics)


def _mend(provider: str) -> str:
    return f"\n    mend: add [providers.{provider}] with its kind, or write one of those that are there"


def _lines(name: str, mistakes: Iterable[tuple[tuple[str | int, ...], str]]) -> Iterable[str]:
    for path, sentence in mistakes:
        yield f"{name}: {dotted(path)}: {sentence}"
