"""The brokers: each started for real, made unreachable, and brought back."""

from __future__ import annotations

import abc
import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.placement.kinds import KINDS
from fastlane.resources.configuration import DatabaseOptions, PoolOptions
from fastlane.sql import Database
from fastlane.sql.binding import Bound
from fastlane.sql.migrations import Migrator
from fastlane.sql.pool import Pool
from fastlane.sql.settings import ConnectionSettings
from tests.servers.gcp_emulator import GcpEmulator
from tests.servers.moto import MotoServer
from tests.servers.nsq import Nsqd
from tests.servers.postgres import Postgres as Server

__all__ = ["BROKERS", "CHOSEN", "Broker"]


class Broker(abc.ABC):
    """A broker that runs until `close`.

    Attributes:
        kind: as in ``[providers.NAME]``.
        pace: seconds that what is "soon" here may take at most, on a busy machine too; less than a usual lease of 30 s.
        least_backoff: of a retry, in seconds.
        ack_deadline: a short one, within which a busy machine still extends it.
        repeats: two receives at the same moment may hand out the same message.
        host, port: where it listens; for relays.
    """

    kind: str
    pace = 15.0
    least_backoff = 0.1
    ack_deadline = 3.0
    repeats = False
    host = "127.0.0.1"
    port = 0

    @property
    def capabilities(self) -> Capabilities:
        module, _, name = KINDS[self.kind].partition(":")
        capabilities: Capabilities = getattr(import_module(module), name).capabilities
        return capabilities

    @property
    def longer(self) -> float:
        """Seconds that a handler takes which outlives its lease: two leases where those are short."""
        return max(2.2 * min(self.ack_deadline, 3.0), self.ack_deadline + 0.5)

    @abc.abstractmethod
    def options(self, address: str | None = None) -> dict[str, Any]:
        """``[providers.NAME]``, through ``address`` (a relay) where one is given."""

    def document(self, address: str | None = None) -> dict[str, Any]:
        """What else the configuration has to say for it."""
        return {}

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Inside, what its provider asks for is bound on the running event loop."""
        yield

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Inside, it can't be reached; it comes back with what it had."""
        pytest.skip(f"{self.kind} has no server that could go away")
        yield

    def close(self) -> None: ...


class Memory(Broker):
    kind = "memory"

    def options(self, address: str | None = None) -> dict[str, Any]:
        return {}


class Local(Broker):
    kind = "local"

    def __init__(self, directory: Path) -> None:
        self._path = directory / "pubsub.db"

    def options(self, address: str | None = None) -> dict[str, Any]:
        return {"kind": "local", "path": str(self._path)}


class Nsq(Broker):
    kind = "nsq"
    least_backoff = 0.2
    pace = 20.0  # on a new channel a deferral may come 5 s late

    def __init__(self, directory: Path) -> None:
        self._server = Nsqd(directory)
        self._server.start()
        self.port = int(self._server.address.rpartition(":")[2])

    def options(self, address: str | None = None) -> dict[str, Any]:
        return {
            "kind": "nsq",
            "nsqd": [address or self._server.address],
            "nsqd_http": [self._server.http_address],
        }

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self._server.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(self._server.start)

    def close(self) -> None:
        self._server.stop()


class Aws(Broker):
    kind = "aws"
    least_backoff = 1.0
    pace = 20.0
    # As SQS says of standard queues; moto looks whether a message is visible and then marks it, without a lock.
    repeats = True

    def __init__(self, directory: Path) -> None:
        self._server = MotoServer()
        self.port = self._server.port

    def options(self, address: str | None = None) -> dict[str, Any]:
        return {
            "kind": "aws",
            "region": "eu-north-1",
            "endpoint_url": f"http://{address}" if address else self._server.url,
            "access_key_id": "test",
            "secret_access_key": "test",
        }

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._server.stop()
        try:
            yield
        finally:
            self._server.go_on()

    def close(self) -> None:
        self._server.close()


class Gcp(Broker):
    kind = "gcp"
    least_backoff = 1.0
    ack_deadline = 10.0
    pace = 20.0

    def __init__(self, directory: Path) -> None:
        self._server = GcpEmulator()
        self.port = self._server.port

    def options(self, address: str | None = None) -> dict[str, Any]:
        endpoint = f"http://{address}" if address else self._server.url
        return {"kind": "gcp", "project": "conformance", "endpoint": endpoint}

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._server.stop()
        try:
            yield
        finally:
            self._server.go_on()

    def close(self) -> None:
        self._server.close()


class Postgres(Broker):
    """A database for each address: through a relay it is another one of the app, and the same on the server."""

    kind = "postgres"

    def __init__(self, directory: Path) -> None:
        try:
            self._server = Server(tcp=True, settings={"fsync": "on"})
        except RuntimeError as missing:
            pytest.skip(str(missing))
        self.port = self._server.port
        self._databases: dict[str, Database] = {}
        asyncio.run(self._migrate())

    async def _migrate(self) -> None:
        connection = await asyncpg.connect(self._server.tcp_url())
        await Migrator.of_framework().apply(connection)
        await connection.close()

    def _name(self, address: str | None) -> str:
        return "broker" if address is None else f"broker-{address.rpartition(':')[2]}"

    def options(self, address: str | None = None) -> dict[str, Any]:
        name = self._name(address)
        # Each time anew: what a test has declared is forgotten after it.
        self._databases[name] = Database(name, migrations=None)
        self._databases[name].told = self._settings(address)
        return {"kind": "postgres", "database": name}

    def document(self, address: str | None = None) -> dict[str, Any]:
        return {"sql": {"databases": {self._name(address): {"url": self._url(address)}}}}

    def _url(self, address: str | None) -> str:
        host, _, port = (address or f"127.0.0.1:{self.port}").rpartition(":")
        return f"postgresql://postgres@{host}:{port}/postgres"

    def _settings(self, address: str | None) -> ConnectionSettings:
        options = DatabaseOptions(url=self._url(address))
        return ConnectionSettings(lambda: options)

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        bound = []
        for database in self._databases.values():
            assert database.told is not None
            bound.append(Bound(database.told, Pool(database.name, database.told, PoolOptions(max=4))))
            database.bind(bound[-1])
            await bound[-1].pool.open(warm=False)
        try:
            yield
        finally:
            for database, one in zip(self._databases.values(), bound, strict=False):
                database.unbind()
                await one.close(2)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._server.kill()
        try:
            yield
        finally:
            # Not in a thread: the server ends with the one that started it.
            self._server.start()

    def close(self) -> None:
        self._server.close()


BROKERS: dict[str, Callable[[Path], Broker]] = {
    "memory": lambda directory: Memory(),
    "local": Local,
    "nsq": Nsq,
    "aws": Aws,
    "gcp": Gcp,
    "postgres": Postgres,
}

_wanted = os.environ.get("FASTLANE_BROKERS", "memory,local")
CHOSEN: list[str] = list(BROKERS) if _wanted == "all" else _wanted.split(",")
