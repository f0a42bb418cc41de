"""The whole of a file, but for ``[serve]``, which is the server's."""

from __future__ import annotations

import msgspec

from fastlane.resources.configuration.cron import CronOptions
from fastlane.resources.configuration.providers import ProviderOptions
from fastlane.resources.configuration.pubsub import PubSubOptions
from fastlane.resources.configuration.secrets import SecretsOptions
from fastlane.resources.configuration.sql import SqlOptions
from fastlane.resources.configuration.table import Table

__all__ = ["ResourceConfiguration"]


class ResourceConfiguration(Table, frozen=True):
    """What stands behind the declared resources."""

    providers: dict[str, ProviderOptions] = msgspec.field(default_factory=dict)
    pubsub: PubSubOptions = PubSubOptions()
    sql: SqlOptions = SqlOptions()
    cron: CronOptions = CronOptions()
    secrets: SecretsOptions = SecretsOptions()
