"""The brokers that are measured: real ones, or the emulator that there is, started for the run and ended with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["BROKERS", "Broker", "Running"]


@dataclass(frozen=True)
class Running:
    """A broker that can be spoken to.

    Attributes:
        configuration: ``fastlane.toml`` of an app that uses it.
        address: for its bare client: a url, ``host:port`` pairs, a path.
        version: for the report.
    """

    configuration: str
    address: str
    version: str


@dataclass(frozen=True)
class Broker:
    """A kind of provider, what else does the same with it, and how the server is started.

    Attributes:
        bare: the names of the sides beside fastlane's; the first one is what the bars compare with.
        alone: nothing but the measured process works: it may use every core.
        most: messages of one way to publish: what the server bears.
        warm_up: seconds of each way to publish, before anything is measured: the emulator's Java compiles itself.
    """

    kind: str
    title: str
    bare: tuple[str, ...]
    start: Callable[[Path], AbstractContextManager[Running]]
    alone: bool = False
    most: int = 30_000
    warm_up: float = 0.3


def configuration_of(provider: str, more: str = "") -> str:
    return f'[providers.broker]\n{provider}\n\n[pubsub]\nprovider = "broker"\n{more}'


@contextlib.contextmanager
def local(directory: Path) -> Iterator[Running]:
    import sqlite3

    path = directory / "pubsub.db"
    text = configuration_of(f'kind = "local"\npath = "{path}"')
    yield Running(text, str(directory / "bare.db"), f"SQLite {sqlite3.sqlite_version}")


@contextlib.contextmanager
def nsq(directory: Path) -> Iterator[Running]:
    from tests.servers.nsq import Nsqd

    # All of a run in its memory: a queue on disk would be nsqd's speed, not the client's.
    server = Nsqd(directory / "nsqd", options=("--mem-queue-size=1000000",))
    server.start()
    try:
        text = configuration_of(f'kind = "nsq"\nnsqd = ["{server.address}"]\nnsqd_http = ["{server.http_address}"]')
        yield Running(text, f"{server.address} {server.http_address}", "nsqd 1.3.0")
    finally:
        server.stop()


@contextlib.contextmanager
def aws(directory: Path) -> Iterator[Running]:
    from tests.servers.moto import MotoServer

    with MotoServer() as server:
        text = configuration_of(
            f'kind = "aws"\nregion = "eu-north-1"\nendpoint_url = "{server.url}"\n'
            'access_key_id = "test"\nsecret_access_key = "test"'
        )
        yield Running(text, server.url, "moto's server")


# It keeps what was acknowledged, in 256 MB: beyond some 200,000 messages it stands still for seconds.
@contextlib.contextmanager
def gcp(directory: Path) -> Iterator[Running]:
    from tests.servers.gcp_emulator import GcpEmulator

    with GcpEmulator() as server:
        text = configuration_of(f'kind = "gcp"\nproject = "bench"\nendpoint = "{server.url}"')
        yield Running(text, server.url, "Google's emulator")


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[Running]:
    from tests.servers.postgres import Postgres

    with Postgres(settings={"fsync": "on"}) as server:
        url = server.url()
        more = f'\n[sql]\nmigrate = "boot"\n[sql.databases.broker]\nurl = "{url}"\n'
        text = configuration_of('kind = "postgres"\ndatabase = "broker"', more)
        yield Running(text, url, f"PostgreSQL {server.sql('SHOW server_version').split()[0]}")


BROKERS: tuple[Broker, ...] = (
    Broker("local", "local (SQLite, FULL)", ("sqlite3",), local, alone=True),
    Broker("nsq", "NSQ", ("raw", "ansq"), nsq),
    Broker("aws", "SNS and SQS (moto)", ("aiobotocore",), aws),
    Broker("gcp", "Google Pub/Sub (emulator)", ("gcloud-aio",), gcp, most=6_000, warm_up=1.5),
    Broker("postgres", "PostgreSQL", ("asyncpg",), postgres),
)
