"""NSQ: ``kind = "nsq"``, the extra ``fastlane[nsq]``.

provider ── what is configured
├── publisher ── pool ── connection       PUB, MPUB, DPUB to several nsqd
├── source ── feed ── connection          a subscribed connection to each nsqd that `discovery` knows;
│      └── readiness                      how much each may have in flight
└── administrator ── http, graveyard      provisioning, backlog, pause; dead letters
"""

from __future__ import annotations

from fastlane.pubsub.providers.nsq.provider import NsqProvider

__all__ = ["NsqProvider"]
