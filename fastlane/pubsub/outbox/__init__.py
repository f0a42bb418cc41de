"""``topic.publish(event, tx=tx)``: what is published in a transaction is sent if, and only if, it commits.

publish(tx=) ─► insertion: rows in the same transaction ─► COMMIT, NOTIFY ─► Relay ─► the topic's broker ─► DELETE
                    └── the broker lives in this very database: the rows are the messages, and there is nothing to relay

The relay runs in one process at a time for each topic, in a thread of its own, wherever the app is open: also on
machines that only serve HTTP. In a test the rows are carried over on the event loop, after each commit and when the app
settles.
"""

from __future__ import annotations

from fastlane.pubsub.outbox.outbox import Outbox

__all__ = ["Outbox"]
