"""``fastlane pubsub``: topics and subscriptions at their brokers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shop import Shop, shops
from tests.servers.nsq import Nsqd

pytestmark = pytest.mark.process

TOPIC_ONLY = """
from msgspec import Struct
from fastlane import App
from fastlane.pubsub import Reject, Topic

app = App()

class Signup(Struct):
    id: int

signups, logins = Topic("user-signups", Signup), Topic("user-logins", Signup)

@signups.subscribe("send-mail")
async def send_mail(event: Signup) -> None:
    raise Reject(f"no mail for {event.id}")

@logins.subscribe("send-mail")
async def greet(event: Signup) -> None: ...

@logins.subscribe("count-up")
async def count(event: Signup) -> None: ...
"""
# The verbs take no subscriber: a client of the tests' own consumes, so that there are dead letters.
CONSUME = """
import asyncio, sys
from app import app
from fastlane.resources.host import Host
from fastlane.resources.surroundings import Surroundings
from fastlane.tenancy import Tenancy

async def main(count):
    tenancy = await Tenancy.begin(Host(Surroundings(mode="serve", embedded=True)))
    await tenancy.start()
    provider = next(iter(tenancy._estate.runtime.services)).placements.providers[0]
    service = next(iter(tenancy._estate.runtime.services))
    administrator = await provider.open_administrator()
    (bound,) = [bound for _, bound in service.placements.topics["user-signups"].subscriptions.values()]
    async with asyncio.timeout(50):
        while (await administrator.backlog(bound)).dead < count:
            await asyncio.sleep(0.02)
    await administrator.close()
    await tenancy.drain()
    await tenancy.end()
asyncio.run(main(int(sys.argv[1])))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Topics alone: no database has to be started."""
    for shop in shops(tmp_path):
        shop.write("app.py", TOPIC_ONLY)
        shop.write("consume.py", CONSUME)
        yield shop


def configured(shop: Shop, table: str) -> str:
    shop.write("broker.toml", f"[providers.events]\n{table}\n[pubsub]\nprovider = 'events'\n")
    return "broker.toml"


def test_provisioning_shows_what_it_would_do_does_it_and_then_finds_nothing_to_do(shop: Shop) -> None:
    config = configured(shop, "kind = 'local'\npath = 'events.db'")
    planned = shop.run("pubsub", "provision", "app:app", "-c", config, "--dry-run")
    assert (planned.code, planned.err) == (0, "")
    assert "events: create topic user-signups\n" in planned.out
    assert "events: create subscription user-signups-send-mail" in planned.out
    assert shop.run("pubsub", "provision", "app:app", "-c", config).out == planned.out
    assert shop.run("pubsub", "provision", "app:app", "-c", config).out == "everything is there\n"


def test_publishing_checks_the_event_and_the_backlog_shows_it(shop: Shop) -> None:
    # Before anything was booted or provisioned: it is kept for the subscriptions that are declared.
    one = ("pubsub", "publish", "app:app", "user-signups", '{"id": 1}', "--embedded")
    assert len(shop.run(*one, "--attribute", "from=a=b").out) == 37
    assert shop.run(*one, "--delay", "10m").code == 0
    listed = shop.run("pubsub", "list", "app:app", "--embedded").out
    assert listed.splitlines()[3:] == [
        "user-signups  (local: user-signups)",
        "  send-mail  (user-signups-send-mail)  2 waiting, 0 in flight, 0 dead",
    ]
    rows = json.loads(shop.run("pubsub", "list", "app:app", "--embedded", "--json").out)
    assert rows[-1] == {
        "topic": "user-signups", "provider": "local", "physical": "user-signups-send-mail", "subscription": "send-mail",
        "waiting": 2, "in_flight": 0, "dead": 0, "paused": False, "error": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("user-signups", '{"id": "x"}'), "EVENT is none of user-signups: Expected `int`, got `str` - at `$.id`"),
        (("user-signups", "{"), "EVENT is none of user-signups: Input data was truncated"),
        (("nobody", "{}"), "there is no topic 'nobody'\n    mend: write one of user-logins, user-signups"),
        (("user-signups", '{"id": 1}', "--attribute", "a"), "--attribute 'a': expected NAME=VALUE"),
        (("user-signups", '{"id": 1}', "--delay", "10 parsecs"), "a duration: seconds, or"),
        (("user-signups", '{"id": 1}', "--key", "k"), "has no order, and ordering_key='k' would be ignored"),
        (("user-signups", '{"id": 1}', "--dedupe-id", "x"), "at least once, and dedupe_id='x' would be ignored"),
    ],
)
def test_what_can_not_be_published_is_a_bad_option(shop: Shop, arguments: tuple[str, ...], problem: str) -> None:
    outcome = shop.run("pubsub", "publish", "app:app", *arguments, "--embedded")
    assert outcome.code == 2
    assert problem in outcome.err
    assert outcome.out == ""


def test_a_subscription_pauses_and_goes_on(shop: Shop) -> None:
    shop.run("pubsub", "provision", "app:app", "--embedded")
    of = ("app:app", "user-signups/send-mail", "--embedded")
    assert shop.run("pubsub", "pause", *of).out == "user-signups/send-mail is paused\n"
    assert "0 dead, paused\n" in shop.run("pubsub", "list", "app:app", "--embedded").out
    assert shop.run("pubsub", "resume", *of).out == "user-signups/send-mail goes on\n"
    assert "paused" not in shop.run("pubsub", "list", "app:app", "--embedded").out


def test_a_name_that_is_none_or_that_two_have_is_told_with_those_that_are_there(shop: Shop) -> None:
    known = "mend: write one of user-logins/count-up, user-logins/send-mail, user-signups/send-mail\n"
    outcome = shop.run("pubsub", "pause", "app:app", "nobody", "--embedded")
    assert (outcome.code, outcome.err) == (2, f"fastlane: there is no subscription 'nobody'\n    {known}")
    outcome = shop.run("pubsub", "purge", "app:app", "send-mail", "--embedded")
    assert (outcome.code, outcome.err) == (2, f"fastlane: there are several subscriptions 'send-mail'\n    {known}")


def test_dead_letters_are_listed_replayed_and_purged(shop: Shop) -> None:
    publish = ("pubsub", "publish", "app:app", "user-signups", "--embedded")
    shop.run("pubsub", "provision", "app:app", "--embedded")
    ids = [shop.run(*publish, f'{{"id": {number}}}').out.strip() for number in (1, 2, 3)]
    consume(shop, 3)
    of = ("app:app", "user-signups/send-mail")
    listed = shop.run("pubsub", "dead-letters", *of, "--embedded")
    assert "attempt 1  rejected" in listed.out, listed.out
    assert "no mail for 1" in listed.out
    assert listed.out.endswith("3 dead letters of user-signups/send-mail\n")
    assert shop.run("pubsub", "dead-letters", *of, "--limit", "1", "--embedded").out.endswith(
        "1 dead letter of user-signups/send-mail\n"
    )
    letters = json.loads(shop.run("pubsub", "dead-letters", *of, "--json", "--embedded").out)
    assert [letter["id"] for letter in letters] == ids
    assert json.loads(letters[0]["payload"]) == {"id": 1}
    replayed = shop.run("pubsub", "replay", *of, ids[1], "nobody", "--embedded")
    assert replayed.out == "1 dead letter of user-signups/send-mail replayed\n"
    assert (replayed.code, replayed.err) == (1, "Error: 1 of the IDS is not among its dead letters\n")
    asked = shop.run("pubsub", "purge", *of, "--embedded")
    assert (asked.code, asked.out) == (
        1,
        "remove up to 100 dead letters of user-signups/send-mail for good? [y/N]: ",
    )
    purged = shop.run("pubsub", "purge", *of, ids[0], "--yes", "--embedded")
    assert purged.out == "1 dead letter of user-signups/send-mail purged\n"
    assert shop.run("pubsub", "replay", *of, "--embedded").out == "1 dead letter of user-signups/send-mail replayed\n"
    assert shop.run("pubsub", "dead-letters", *of, "--json", "--embedded").out == "[]\n"


def consume(shop: Shop, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "consume.py", str(count)],
        cwd=shop.directory,
        env={**os.environ, **shop.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_a_deployment_provisions_nsq_before_it_serves(shop: Shop, tmp_path: Path) -> None:
    nsqd = Nsqd(tmp_path / "nsqd")
    nsqd.start()
    try:
        config = configured(shop, f"kind = 'nsq'\nnsqd = ['{nsqd.address}']\nnsqd_http = ['{nsqd.http_address}']")
        refused = shop.run("cron", "history", "app:app", "-c", config)
        assert refused.code == 2
        made = shop.run("pubsub", "provision", "app:app", "-c", config)
        assert (made.code, made.err) == (0, "")
        assert "events: create" in made.out
        assert shop.run("pubsub", "provision", "app:app", "-c", config).out == "everything is there\n"
        of = ("app:app", "user-signups/send-mail", "-c", config)
        assert shop.run("pubsub", "pause", *of).code == 0
        shop.run("pubsub", "publish", "app:app", "user-signups", '{"id": 1}', "-c", config)
        shown = shop.run("pubsub", "list", "app:app", "-c", config)
        assert shown.code == 0
        assert "send-mail)  1 waiting" in shown.out, shown.out
        assert "paused" in shown.out
        assert shop.run("pubsub", "dead-letters", *of).out.endswith("0 dead letters of user-signups/send-mail\n")
    finally:
        nsqd.kill()


def test_a_broker_that_is_down_hides_no_other_and_is_told_once(shop: Shop) -> None:
    shop.write(
        "broker.toml",
        "[providers.events]\nkind = 'nsq'\nnsqd = ['127.0.0.1:1']\n[pubsub]\nprovider = 'local'\n"
        "[pubsub.topics.user-logins]\nprovider = 'events'\n",
    )
    shown = shop.run("pubsub", "list", "app:app", "-c", "broker.toml", "--embedded")
    assert shown.code == 1
    assert "(user-signups-send-mail)  0 waiting, 0 in flight, 0 dead\n" in shown.out
    assert "unknown waiting, unknown in flight, unknown dead\n" in shown.out
    assert shown.err.startswith("provider 'events': http://127.0.0.1:2/stats can't be reached")
    assert shown.err.count("\n") == 1
    as_json = shop.run("pubsub", "list", "app:app", "-c", "broker.toml", "--embedded", "--json")
    assert as_json.code == 1
    assert [row["waiting"] for row in json.loads(as_json.out) if row["subscription"]] == [None, None, 0]
    down = shop.run("pubsub", "provision", "app:app", "-c", "broker.toml", "--embedded")
    assert (down.code, down.err.startswith("Error: provider 'events': http")) == (1, True)


def test_a_broker_that_says_nothing_is_not_waited_for_for_ever(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "{}:{}".format(*silent.getsockname())
        config = configured(shop, f"kind = 'nsq'\nnsqd = ['{address}']\nnsqd_http = ['{address}']")
        shown = shop.run("pubsub", "list", "app:app", "-c", config)
    assert shown.code == 1
    assert "unknown waiting" in shown.out
    assert "provider 'events': " in shown.err


def test_an_embedded_database_is_a_broker_as_soon_as_it_is_migrated(shop: Shop) -> None:
    config = configured(shop, "kind = 'postgres'\ndatabase = 'blog'")
    lacking = shop.run("pubsub", "provision", "shop:app", "-c", config, "--embedded")
    assert lacking.code == 2
    assert "mend: run `fastlane sql migrate APP`" in lacking.err
    assert shop.run("pubsub", "list", "shop:app", "-c", config, "--embedded").code == 1
    shop.run("sql", "migrate", "shop:app", "-c", config, "--embedded")
    assert shop.run("pubsub", "provision", "shop:app", "-c", config, "--embedded").code == 0
    sent = shop.run("pubsub", "publish", "shop:app", "user-signups", '{"id": 1}', "-c", config, "--embedded")
    assert (sent.code, sent.err) == (0, "")
    assert "1 waiting" in shop.run("pubsub", "list", "shop:app", "-c", config, "--embedded").out


def test_an_app_without_topics_has_nothing_to_list_or_to_provision(shop: Shop) -> None:
    shop.write("bare.py", "from fastlane import App\napp = App()\n")
    assert shop.run("pubsub", "list", "bare:app").out == "bare:app declares no topic\n"
    assert shop.run("pubsub", "list", "bare:app", "--json").out == "[]\n"
    assert shop.run("pubsub", "provision", "bare:app").out == "everything is there\n"
    outcome = shop.run("pubsub", "publish", "bare:app", "a", "{}")
    assert (outcome.code, outcome.err) == (2, "fastlane: bare:app declares no topic\n")


@pytest.mark.parametrize("option", ["0", "-1", "x"])
def test_a_limit_is_a_number_from_one(shop: Shop, option: str) -> None:
    outcome = shop.run("pubsub", "dead-letters", "app:app", "send-mail", "--limit", option, "--embedded")
    assert outcome.code == 2
    assert "Invalid value for '--limit'" in outcome.err


VERBS = ("list", "provision", "dead-letters", "replay", "purge", "publish", "pause", "resume")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example(shop: Shop, verb: str) -> None:
    assert f"Example: fastlane pubsub {verb} app:app" in shop.run("pubsub", verb, "--help").out
