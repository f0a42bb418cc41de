"""The client libraries by themselves, as a careful user would write the same: batches, 100 handlers, acknowledgements.

No ids, attributes, leases, retries, dead letters or limits: the event as JSON, and nothing else.
"""

from __future__ import annotations

from bench.pubsub_bare.aws import Aws
from bench.pubsub_bare.bare import Bare
from bench.pubsub_bare.gcp import Gcp
from bench.pubsub_bare.local import Sqlite
from bench.pubsub_bare.nsq import Ansq, Nsq
from bench.pubsub_bare.postgres import Postgres
from bench.pubsub_work import IN_FLIGHT

__all__ = ["SIDES"]

SIDES: dict[str, type[Bare]] = {
    "sqlite3": Sqlite,
    "raw": Nsq,
    "ansq": Ansq,
    "aiobotocore": Aws,
    "gcloud-aio": Gcp,
    "asyncpg": Postgres,
}

assert all(sum(side.batches) == IN_FLIGHT for side in SIDES.values())
