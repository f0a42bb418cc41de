"""Consuming subscriptions: everything between a broker's `Source` and a user's handler."""

from __future__ import annotations

from fastlane.pubsub.consumption.consumers import Consumers, once_of, share_of
from fastlane.pubsub.consumption.health import Health

__all__ = ["Consumers", "Health", "once_of", "share_of"]
