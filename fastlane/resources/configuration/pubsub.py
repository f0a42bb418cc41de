"""``[pubsub]``: which broker carries which topic, and what things are called there."""

from __future__ import annotations

import msgspec

from fastlane.resources.configuration.table import CountAboveZero, DurationText, SizeText, Table

__all__ = ["PubSubOptions", "SubscriptionOptions", "TopicOptions"]


def _check_arn(arn: str | None, service: str) -> None:
    if arn is None:
        return
    parts = arn.split(":")
    if len(parts) != 6 or (parts[0], parts[2]) != ("arn", service):
        raise ValueError(f"arn: expected arn:aws:{service}:REGION:ACCOUNT:NAME, got {arn!r}")


class SubscriptionOptions(Table, frozen=True):
    """``[pubsub.topics.TOPIC.subscriptions.NAME]``. At most one of the attributes.

    Attributes:
        name: the broker's name for it; default: ``<topic>-<subscription>``.
        arn, url: of an SQS queue, where the name is not enough.
    """

    name: str | None = None
    arn: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(value is not None for value in (self.name, self.arn, self.url)) > 1:
            raise ValueError("give one of name, arn and url")
        _check_arn(self.arn, "sqs")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: expected https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, got {self.url!r}")


class TopicOptions(Table, frozen=True):
    """``[pubsub.topics.NAME]``. At most one of ``name`` and ``arn``.

    Attributes:
        provider: a name of ``[providers]``, or ``local``; default: that of ``[pubsub]``.
        name: the broker's name for it; default: its own.
        arn: of an SNS topic, where the name is not enough.
        subscriptions: a table each, see `SubscriptionOptions`.
    """

    provider: str | None = None
    name: str | None = None
    arn: str | None = None
    subscriptions: dict[str, SubscriptionOptions] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and self.arn is not None:
            raise ValueError("give one of name and arn")
        _check_arn(self.arn, "sns")


class PubSubOptions(Table, frozen=True):
    """``[pubsub]``.

    Attributes:
        provider: for every topic that names none.
        publish_timeout: until a publish that the broker has not confirmed fails with ``Unavailable``.
        max_outgoing, max_outgoing_bytes: messages, and their bytes, that may wait for the broker's answer in one
            worker; publishing waits while they are reached.
        max_message_size: of payload and attributes together.
        topics: a table each, see `TopicOptions`.
    """

    provider: str | None = None
    publish_timeout: DurationText = 10.0
    max_outgoing: CountAboveZero = 1000
    max_outgoing_bytes: SizeText = "8MiB"
    max_message_size: SizeText = "256KiB"
    topics: dict[str, TopicOptions] = msgspec.field(default_factory=dict)
