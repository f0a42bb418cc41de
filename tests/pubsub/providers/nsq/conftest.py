from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.nsq import Nsqd, NsqLookupd

StartNsqd = Callable[..., Nsqd]


@pytest.fixture
def start_nsqd(tmp_path: Path) -> Iterator[StartNsqd]:
    """Starts one; all are killed in the end."""
    servers: list[Nsqd] = []

    def start(*options: str, lookupd: tuple[NsqLookupd, ...] = ()) -> Nsqd:
        server = Nsqd(tmp_path / f"nsqd-{len(servers)}", lookupd=lookupd, options=options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def nsqd(start_nsqd: StartNsqd) -> Nsqd:
    return start_nsqd()


@pytest.fixture
def lookupd(tmp_path: Path) -> Iterator[NsqLookupd]:
    server = NsqLookupd(tmp_path / "nsqlookupd")
    server.start()
    yield server
    server.kill()
