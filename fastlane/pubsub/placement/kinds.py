"""Which module is which kind of provider. It is imported when the configuration asks for it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import msgspec

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import Provider

__all__ = ["KINDS", "PROVISIONED", "kind_of", "make_provider"]

KINDS: Final = {
    "memory": "fastlane.pubsub.providers.memory:MemoryProvider",
    "local": "fastlane.pubsub.providers.local:LocalProvider",
    "nsq": "fastlane.pubsub.providers.nsq:NsqProvider",
    "aws": "fastlane.pubsub.providers.aws:AwsProvider",
    "gcp": "fastlane.pubsub.providers.gcp:GcpProvider",
    "postgres": "fastlane.pubsub.providers.postgres:PostgresProvider",
}

PROVISIONED: Final = frozenset({"local", "postgres"})
"""Kinds whose topics and subscriptions are made by the boot process: nobody else has a say there."""


def kind_of(options: Any) -> str:
    """The ``kind`` in the configuration that these options belong to."""
    return str(type(options).__struct_config__.tag)


def make_provider(name: str, options: msgspec.Struct) -> Provider:
    """The provider that is configured as ``[providers.NAME]``. Opens nothing.

    Raises:
        ConfigurationError: its library is missing, or its options make no sense.
    """
    kind = kind_of(options)
    module, _, found = KINDS[kind].partition(":")
    try:
        provider: type[Provider] = getattr(import_module(module), found)
    except ImportError as error:
        if (error.name or "fastlane").partition(".")[0] == "fastlane":
            raise
        raise ConfigurationError(
            f"provider {name!r} (kind {kind}) needs {error.name}, which is not installed\n"
            f"    mend: pip install 'fastlane-asgi[{kind}]'"
        ) from error
    return provider(name, options)
