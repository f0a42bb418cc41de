"""Topics and subscriptions: declared in the code, carried by the broker that the configuration chooses."""

from __future__ import annotations

from fastlane.pubsub.attributes import Attribute
from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.failures import MessageTooLarge
from fastlane.pubsub.provider import PublishRefused
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.pubsub.topics.topic import Topic

__all__ = [
    "Attribute",
    "Batch",
    "DeadLetter",
    "Message",
    "MessageTooLarge",
    "PublishRefused",
    "Reject",
    "Retry",
    "Subscription",
    "Topic",
]
