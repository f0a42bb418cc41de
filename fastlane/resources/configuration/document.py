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
    """What stands behind the declared resources.

    Attributes:
        providers: brokers, each named once.
        pubsub: which broker carries which topic.
        sql: where each database is.
        cron: who decides that a tick is run once.
        secrets: where secrets come from.
    """

    providers: dict[str, ProviderOptions] = msgspec.field(default_factory=dict)
    pubsub: PubSubOptions = msgspec.field(default_factory=PubSubOptions)
    sql: SqlOptions = msgspec.field(default_factory=SqlOptions)
    cron: CronOptions = msgspec.field(default_factory=CronOptions)
    secrets: SecretsOptions = msgspec.field(default_factory=SecretsOptions)
