"""What commits is published, and nothing else: through killed workers and a killed database."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.brokers import CHOSEN
from tests.conformance.soak.served import Served
from tests.servers.postgres import Postgres

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.skipif("postgres" not in CHOSEN, reason="soaks run with make conformance"),
]

COUNT = 3_000
KEYS = 10


class Writers:
    """One client for each key, so that of a key it is known what was written before what."""

    def __init__(self, port: int) -> None:
        self.written = 0
        self._port = port

    async def write(self) -> None:
        await asyncio.gather(*(self._write_key(key) for key in range(KEYS)))

    async def _write_key(self, key: int) -> None:
        for number in range(COUNT // KEYS):
            body = json.dumps({"key": f"k{key}", "number": number, "undo": random.random() < 0.3})
            await asyncio.to_thread(self._post, body)
            self.written += 1

    def _post(self, body: str) -> None:
        """Once. Where there is no answer, the table alone knows what became of it."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
        try:
            connection.request("POST", "/orders", body, {"content-type": "application/json"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize("broker", ["local", "postgres"])
async def test_what_commits_is_published_and_nothing_else(broker: str, tmp_path: Path) -> None:
    random.seed(COUNT)
    with Postgres(tcp=True, settings={"fsync": "on"}) as server:
        server.sql("CREATE TABLE orders (key text, number int)")
        path = tmp_path / "pubsub.db"
        provider = f'kind = "local"\npath = "{path}"' if broker == "local" else 'kind = "postgres"\ndatabase = "soak"'
        configuration = f"""
            [pubsub]
            provider = "broker"
            [sql]
            migrate = "boot"
            [sql.databases.soak]
            url = "{server.tcp_url()}"
            [providers.broker]
            {provider}
        """
        target = "tests/conformance/soak/written.py:app"
        served = Served(tmp_path, configuration, ordered=True, ack_deadline=2, target=target)
        await asyncio.to_thread(served.__enter__)
        writers = Writers(served.port)

        async def at(share: float) -> None:
            while writers.written < COUNT * share:
                await asyncio.sleep(0.01)

        async def faults() -> None:
            for share in (0.1, 0.25, 0.4):
                await at(share)
                served.kill_worker()
            await at(0.55)
            server.kill()
            await asyncio.sleep(0.5)
            server.start()
            await at(0.8)
            served.kill_worker()

        try:
            await asyncio.gather(writers.write(), faults())
            rows = server.sql("SELECT key, number FROM orders").splitlines()
            committed = {(key, int(number)) for key, _, number in (row.partition("|") for row in rows)}
            end = time.monotonic() + 90
            while not committed.issubset(served.handled()):
                missing = len(committed.difference(served.handled()))
                assert time.monotonic() < end, f"{missing} of {len(committed)} are missing\n{served.output[-3000:]}"
                await asyncio.sleep(0.1)
            for table in ("outbox", "outbox_dead"):
                while server.sql(f"SELECT count(*) FROM fastlane.{table}") != "0":
                    assert time.monotonic() < end
                    await asyncio.sleep(0.1)
        finally:
            await asyncio.to_thread(served.__exit__)
    handled = served.handled()
    assert set(handled) == committed, "what was rolled back was published"
    times = Counter(handled)
    assert min(times.values()) == 2, "both messages of a transaction"
    for key in range(KEYS):
        firsts = list(dict.fromkeys(number for name, number in handled if name == f"k{key}"))
        assert firsts == sorted(firsts), f"key {key} is out of order"
    again = len(handled) - 2 * len(committed)
    logging.getLogger("soak").info("outbox, %s: %d of %d came again", broker, again, 2 * len(committed))
