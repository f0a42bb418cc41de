"""The example of an app is a configuration that the reader takes, and names everything the app declares."""

from __future__ import annotations

import re
import tomllib

import pytest

from fastlane.resources.configuration import Loaded, resolve
from fastlane.resources.configuration.example import Declared, example

ALL = Declared(
    topics=[("user-signups", ["send-mail", "count"]), ("audit", [])],
    databases=["blog", "shop-items"],
    secrets=["MAIL_KEY"],
    cron_jobs=[("trending", "every 10m")],
)
URLS = {"BLOG_DATABASE_URL": "postgresql://a", "SHOP_ITEMS_DATABASE_URL": "postgresql://b"}


def test_it_is_read_as_it_is() -> None:
    configuration = resolve(Loaded("f.toml", None, tomllib.loads(example("app:app", ALL)), URLS))
    assert set(configuration.pubsub.topics) == {"user-signups", "audit"}
    assert set(configuration.pubsub.topics["user-signups"].subscriptions) == {"send-mail", "count"}
    assert configuration.sql.databases["shop-items"].url == "postgresql://b"
    assert configuration.cron.database == "blog"  # of several databases one has to be named


def test_every_line_that_is_commented_out_may_stand_there() -> None:
    text = example("app:app", ALL)
    opened = re.sub(r"(?m)^# ((?:[a-z_]+|MAIL_KEY) = |\[)", r"\1", text)
    assert opened != text
    environment = {**URLS, "DIRECT_DATABASE_URL": "postgresql://c"}
    configuration = resolve(Loaded("f.toml", None, tomllib.loads(opened), environment))
    assert configuration.secrets.names == {"MAIL_KEY": "MAIL_KEY"}
    assert configuration.cron.database == "blog"


@pytest.mark.parametrize(
    "declared",
    [Declared(), Declared(topics=[("a", [])]), Declared(databases=["a"]), Declared(cron_jobs=[("a", "daily")])],
)
def test_what_is_not_declared_is_not_in_it(declared: Declared) -> None:
    tables = set(tomllib.loads(example("app:app", declared)))
    expected = {"serve"}
    expected |= {"providers", "pubsub"} if declared.topics else set()
    expected |= {"sql"} if declared.databases else set()
    expected |= {"cron"} if declared.cron_jobs else set()
    assert tables == expected


def test_one_database_has_the_variable_that_everybody_knows() -> None:
    assert '[sql.databases.blog]\nurl = { env = "DATABASE_URL" }' in example("a:b", Declared(databases=["blog"]))


def test_cron_without_a_database_has_to_say_that_there_is_one_machine() -> None:
    assert 'store = "local"' in example("a:b", Declared(cron_jobs=[("a", "daily")]))
