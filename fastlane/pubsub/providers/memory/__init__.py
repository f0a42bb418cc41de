"""The broker of tests: inside the process, with a time of its own."""

from __future__ import annotations

from fastlane.pubsub.providers.memory.broker import Broker
from fastlane.pubsub.providers.memory.provider import MemoryProvider
from fastlane.pubsub.providers.memory.settling import enlist, settle

__all__ = ["Broker", "MemoryProvider", "enlist", "settle"]
