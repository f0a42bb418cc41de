from __future__ import annotations

from tests.pubsub.outbox.conftest import postgres, url

__all__ = ["postgres", "url"]
