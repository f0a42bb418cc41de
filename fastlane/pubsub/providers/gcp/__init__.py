"""Google Cloud Pub/Sub over its REST interface, with gcloud-aio's tokens.

gcloud-aio-pubsub's own clients are not used: its subscriber drops the ordering key of a message, its ``subscribe()``
reverses the order and extends no lease, and neither tells apart what may be tried again.
"""

from __future__ import annotations

from fastlane.pubsub.providers.gcp.provider import GcpProvider

__all__ = ["GcpProvider"]
