"""An application with topics, databases and jobs, for the verbs that look after them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from fastlane.sql.embedded import EmbeddedServer, drop_database
from tests.cli.conftest import Outcome
from tests.cli.declaring import run

__all__ = ["SHOP", "Shop", "embedded_servers", "shops"]

SHOP = """
import asyncio, os
from msgspec import Struct
from fastlane import App
from fastlane.cron import cron
from fastlane.pubsub import Message, Topic
from fastlane.sql import Database

app = App()
db = Database("blog")

class Signup(Struct):
    id: int
    name: str = ""

signups = Topic("user-signups", Signup)

@signups.subscribe("send-mail")
async def send_mail(event: Signup) -> None: ...

@signups.subscribe("count-up")
async def count_up(event: Signup) -> None: ...

@cron("trending", every="10m")
async def trending() -> None:
    print("posts:", await db.fetch_value(int, "SELECT count(*) FROM posts"))

@cron("broken", every="1h")
def broken() -> None:
    raise RuntimeError(os.environ.get("WHY", "so it is"))

@cron("slow", every="1h")
async def slow() -> None:
    print("begun", flush=True)
    await asyncio.sleep(60)

@cron("line", every="1h", overlap="queue")
async def line() -> None: ...
"""


class Shop:
    """It in a directory, with a migration.

    Args:
        server: whose databases of these names are removed; None: it gets a state of its own.
    """

    def __init__(self, directory: Path, server: EmbeddedServer | None = None, state: Path | None = None) -> None:
        self.directory = directory
        self.state = state or directory / "state"
        self.write("shop.py", SHOP)
        self.write("migrations/0001_posts.up.sql", "CREATE TABLE posts (id int);")
        self.write("migrations/0001_posts.down.sql", "DROP TABLE posts;")
        for name in ("blog", "shop") if server is not None else ():
            asyncio.run(drop_database(server, name))

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """``fastlane …`` to its end. No failure that is known may be a traceback, so none is one here."""
        outcome = run(self.directory, *arguments, **self.environment, **environment)
        if environment.get("TRACEBACK") is None:
            assert "Traceback" not in outcome.err, outcome.err
        return outcome

    @property
    def environment(self) -> dict[str, str]:
        return {"FASTLANE_STATE": str(self.state), "PYTHONPATH": os.getcwd()}


def shops(directory: Path) -> Iterator[Shop]:
    """One with a state of its own, whose embedded server ends with it."""
    shop = Shop(directory)
    yield shop
    if shop.state.exists():
        EmbeddedServer(shop.state).destroy_blocking()


def embedded_servers(state: Path) -> Iterator[tuple[EmbeddedServer, Path]]:
    """One that runs for many tests, which are faster then; and its state."""
    server = EmbeddedServer(state, linger=0.5)
    server.hold_blocking()
    yield server, state
    server.destroy_blocking()
