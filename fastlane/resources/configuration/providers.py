"""``[providers.NAME]``: a broker, named once, chosen by its ``kind``."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from fastlane.resources.configuration.table import DurationText, HiddenText, PauseText, SizeText, Table

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
    auth: HiddenText | None = None
    max_delay: PauseText = 3600.0
    envelope: Literal["fastlane", "raw"] = "fastlane"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.nsqd and not self.lookupd:
            raise ValueError("give nsqd, lookupd, or both")
        if self.nsqd_http and not self.lookupd and len(self.nsqd_http) != len(self.nsqd):
            raise ValueError(f"nsqd_http has {len(self.nsqd_http)} addresses, and nsqd {len(self.nsqd)}")


class AwsOptions(Table, frozen=True, tag_field="kind", tag="aws"):
    """SNS topics to SQS queues. What is left out, botocore's own chain decides (environment, profile, role).

    Attributes:
        region: such as ``eu-north-1``.
        endpoint_url: ``http://host:port`` of what stands in for AWS.
        access_key_id, secret_access_key: both or neither.
        role_arn: a role to assume with them.
    """

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: HiddenText | None = None
    role_arn: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.access_key_id is None) is not (self.secret_access_key is None):
            raise ValueError("give access_key_id and secret_access_key, or neither")
        _check_url("endpoint_url", self.endpoint_url)


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

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_url("endpoint", self.endpoint)


class PostgresOptions(Table, frozen=True, tag_field="kind", tag="postgres"):
    """A declared database as the broker.

    Attributes:
        database: its name.
    """

    database: str


class MemoryOptions(Table, frozen=True, tag_field="kind", tag="memory"):
    """Inside the process; for tests. No file can ask for it."""


def _check_url(key: str, url: str | None) -> None:
    if url is not None and not url.startswith(("http://", "https://")):
        got = "(not shown)" if "@" in url else repr(url)  # before it may stand a password
        raise ValueError(f"{key}: expected http://host:port, got {got}")


ProviderOptions: TypeAlias = LocalOptions | NsqOptions | AwsOptions | GcpOptions | PostgresOptions
