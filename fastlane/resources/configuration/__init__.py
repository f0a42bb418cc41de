"""What a configuration file may say about resources: one type, a module for each of its tables."""

from __future__ import annotations

from fastlane.resources.configuration.cron import CronOptions
from fastlane.resources.configuration.document import ResourceConfiguration
from fastlane.resources.configuration.hiding import hide_values, shown_dsn
from fastlane.resources.configuration.providers import (
    AwsOptions,
    GcpOptions,
    LocalOptions,
    MemoryOptions,
    NsqOptions,
    PostgresOptions,
    ProviderOptions,
)
from fastlane.resources.configuration.pubsub import PubSubOptions, SubscriptionOptions, TopicOptions
from fastlane.resources.configuration.reading import (
    Examined,
    Loaded,
    examine,
    load,
    referenced_secrets,
    resolve,
    secrets_options,
)
from fastlane.resources.configuration.secrets import SecretsOptions
from fastlane.resources.configuration.sql import DatabaseOptions, PoolOptions, SqlOptions

__all__ = [
    "AwsOptions",
    "CronOptions",
    "DatabaseOptions",
    "Examined",
    "GcpOptions",
    "Loaded",
    "LocalOptions",
    "MemoryOptions",
    "NsqOptions",
    "PoolOptions",
    "PostgresOptions",
    "ProviderOptions",
    "PubSubOptions",
    "ResourceConfiguration",
    "SecretsOptions",
    "SqlOptions",
    "SubscriptionOptions",
    "TopicOptions",
    "examine",
    "hide_values",
    "load",
    "referenced_secrets",
    "resolve",
    "secrets_options",
    "shown_dsn",
]
