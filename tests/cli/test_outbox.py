"""``fastlane sql outbox``: what waits, what was refused, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shop import Shop
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.process

COLUMNS = "seq, topic, id, key, published_at, dedupe_id, attributes, body"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, server: Postgres) -> Shop:
    server.sql("DROP DATABASE IF EXISTS sold WITH (FORCE)")
    server.sql("CREATE DATABASE sold")
    shop = Shop(tmp_path)
    shop.write(
        "fastlane.toml",
        f"[pubsub]\nprovider = 'local'\n[sql.databases.blog]\nurl = '{server.url('sold')}'\n",
    )
    return shop


def put(server: Postgres) -> None:
    when = "'2026-01-02 03:04:05Z'"
    server.sql(
        f"INSERT INTO fastlane.outbox ({COLUMNS}) VALUES (9, 'sales', 'i9', NULL, {when}, 'i9', '{{}}', '5');"
        f"INSERT INTO fastlane.outbox_dead ({COLUMNS}, error, died_at) VALUES"
        f" (3, 'sales', 'i3', 'k', {when}, 'i3', '{{\"a\": \"b\"}}', '3', 'too large', {when}),"
        f" (4, 'sales', 'i4', 'k', {when}, 'i4', '{{}}', '4', 'gone', {when})",
        "sold",
    )


def test_what_waits_and_what_was_refused_is_shown(shop: Shop, server: Postgres) -> None:
    lacking = shop.run("sql", "outbox", "shop:app")
    assert lacking.code == 2
    assert "database 'blog' has no outbox" in lacking.err
    assert "mend: run `fastlane sql migrate APP`" in lacking.err
    shop.run("sql", "migrate", "shop:app")
    assert shop.run("sql", "outbox", "shop:app").out == "blog:\n  nothing waits, nothing was refused\n"
    put(server)
    assert shop.run("sql", "outbox", "shop:app").out == (
        "blog:\n"
        "  sales  1 waiting, the oldest since 2026-01-02 03:04:05\n"
        "  i3  2026-01-02 03:04:05  sales  key k  refused\n      too large\n"
        "  i4  2026-01-02 03:04:05  sales  key k  refused\n      gone\n"
    )
    (found,) = json.loads(shop.run("sql", "outbox", "shop:app", "--json", "--limit", "1").out)
    assert found["waiting"] == [{"topic": "sales", "messages": 1, "oldest": "2026-01-02T03:04:05+00:00"}]
    (letter,) = found["refused"]
    assert (letter["id"], letter["payload"], letter["attributes"]) == ("i3", "3", {"a": "b"})


def test_refused_messages_are_tried_again_in_their_order_or_removed(shop: Shop, server: Postgres) -> None:
    shop.run("sql", "migrate", "shop:app")
    put(server)
    some = shop.run("sql", "outbox-retry", "shop:app", "i4", "nobody")
    assert (some.code, some.out) == (1, "1 refused message handed to the broker again\n")
    assert some.err == "Error: 1 of the IDS is not among them\n"
    assert server.sql("SELECT string_agg(id, ',' ORDER BY seq) FROM fastlane.outbox", "sold") == "i4,i9"
    assert shop.run("sql", "outbox-retry", "shop:app").out == "1 refused message handed to the broker again\n"
    rows = "SELECT string_agg(id || coalesce(key, ''), ',' ORDER BY seq) FROM fastlane.outbox"
    assert server.sql(rows, "sold") == "i3k,i4k,i9"
    server.sql("DELETE FROM fastlane.outbox", "sold")
    put(server)
    assert shop.run("sql", "outbox-drop", "shop:app", "--yes", "i3").out == "1 refused message removed\n"
    asked = shop.run("sql", "outbox-drop", "shop:app")
    assert asked.code == 1
    assert "remove up to 100 refused messages of the outbox of blog for good?" in asked.out
    assert shop.run("sql", "outbox-drop", "shop:app", "--yes").out == "1 refused message removed\n"
    assert server.sql("SELECT count(*) FROM fastlane.outbox_dead", "sold") == "0"


@pytest.mark.parametrize("verb", ["outbox", "outbox-retry", "outbox-drop"])
def test_the_help_of_every_verb_has_an_example(shop: Shop, verb: str) -> None:
    assert f"Example: fastlane sql {verb} app:app" in shop.run("sql", verb, "--help").out
