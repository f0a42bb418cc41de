"""``[providers.NAME]``: a broker, named once, chosen by its ``kind``."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from fastlane.resources.configuration.table import DurationText, SizeText, Table
from fastlane.resources.quantities import octets, seconds

__all__ = [
    "AwsOptions",
    "GcpOptions",
    "LocalOptions",
    "MemoryOptions",
    "NsqOptions",
    "PostgresOptions",
    "ProviderOptions",
]


class LocalOptions(Table, frozen=True, tag_field="kind", tag="local"):
    """The embedded broker: a SQLite file that all processes of this machine share.

    Attributes:
        path: the file; default: ``pubsub.db`` in the state directory (``.fastlane``).
        durability: ``full`` survives a loss of power, ``normal`` a crash of the process or the system.
        max_bytes: of the file; publishing more is refused (``resource_exhausted``).
        retention: how long a message that nobody acknowledges is kept.
    """

    path: str | None = None
    durability: Literal["full", "normal"] = "full"
    max_bytes: SizeText = "4GiB"
    retention: DurationText = "7d"

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "max_bytes", octets(self.max_bytes))
        msgspec.structs.force_setattr(self, "retention", seconds(self.retention))


class NsqOptions(Table, frozen=True, tag_field="kind", tag="nsq"):
    """NSQ.

    Attributes:
        nsqd: ``host:port`` of each nsqd that is published to, and consumed from where there is no ``lookupd``.
        lookupd: ``host:port`` (HTTP) of each nsqlookupd that says where to consume.
        nsqd_http: ``host:port`` (HTTP) of each nsqd, for provisioning, backlog, pause; default: port + 1 of ``nsqd``.
        tls: encrypt; ``true``, or the path of a certificate authority (PEM).
        auth: the secret for AUTH.
        max_delay: what nsqd's ``--max-req-timeout`` says.
        envelope: ``fastlane`` carries id, attributes and times beside the payload; ``raw`` is the payload alone, for
            topics that others write or read.
    """

    nsqd: list[str] = msgspec.field(default_factory=list)
    lookupd: list[str] = msgspec.field(default_factory=list)
    nsqd_http: list[str] = msgspec.field(default_factory=list)
    tls: bool | str = False
    auth: str | None = None
    max_delay: DurationText = 3600.0
    envelope: Literal["fastlane", "raw"] = "fastlane"

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "max_delay", seconds(self.max_delay))
        if not self.nsqd and not self.lookupd:
            raise ValueError("give nsqd, lookupd, or both")


class AwsOptions(Table, frozen=True, tag_field="kind", tag="aws"):
    """SNS topics to SQS queues. What is left out, botocore's own chain decides (environment, profile, role)."""

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    role_arn: str | None = None


class GcpOptions(Table, frozen=True, tag_field="kind", tag="gcp"):
    """Google Cloud Pub/Sub.

    Attributes:
        project: the project's id.
        endpoint: ``http://host:port`` of an emulator; default: ``PUBSUB_EMULATOR_HOST``, else Google.
        credentials: the path of a service account's JSON file; default: Google's own chain.
    """

    project: str
    endpoint: str | None = None
    credentials: str | None = None


class PostgresOptions(Table, frozen=True, tag_field="kind", tag="postgres"):
    """A declared database as the broker."""

    database: str


class MemoryOptions(Table, frozen=True, tag_field="kind", tag="memory"):
    """Inside the process; for tests. No file can ask for it."""


ProviderOptions: TypeAlias = LocalOptions | NsqOptions | AwsOptions | GcpOptions | PostgresOptions
