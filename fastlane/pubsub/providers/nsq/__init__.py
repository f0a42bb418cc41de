"""The provider for NSQ: ``kind = "nsq"``, the extra ``fastlane[nsq]``.

    provider ── what is configured
    ├── publisher ── pool ── connection                 PUB, MPUB, DPUB to several nsqd
    ├── source ── following ── feed ── connection       a subscribed connection to each nsqd that there is;
    │      └── readiness                                how much each may have in flight
    └── administrator ── http, graveyard                provisioning, backlog, pause; dead letters

`connection` speaks the protocol, `greeting` begins it, `envelope` is what messages look like, `discovery` asks
nsqlookupd.
"""

from __future__ import annotations

from fastlane.pubsub.providers.nsq.provider import NsqProvider

__all__ = ["NsqProvider"]
