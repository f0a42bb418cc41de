"""SNS topics that send to SQS queues, on aiobotocore.

topic ──raw delivery──► queue of a subscription ──► consumers ──given up──► queue ``<subscription>-dead``
"""

from __future__ import annotations

from fastlane.pubsub.providers.aws.provider import AwsProvider

__all__ = ["AwsProvider"]
