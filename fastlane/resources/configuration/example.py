"""A commented configuration file for one app: every resource that it declares, with what it needs and what it may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastlane.resources.configuration.cron import CronOptions
from fastlane.resources.configuration.documentation import describe_keys
from fastlane.resources.configuration.secrets import SecretsOptions

__all__ = ["Declared", "example"]


class Declared(NamedTuple):
    """What an app declares, as far as a configuration is concerned.

    Attributes:
        topics: names, and the names of the subscriptions of each.
        databases, secrets: names.
        cron_jobs: names, and when they are due.
    """

    topics: Sequence[tuple[str, Sequence[str]]] = ()
    databases: Sequence[str] = ()
    secrets: Sequence[str] = ()
    cron_jobs: Sequence[tuple[str, str]] = ()


def example(target: str, declared: Declared) -> str:
    """The text of a file that `fastlane.resources.configuration.resolve` takes.

    What has a default is commented out, and shows it.
    """
    lines = [
        f"# fastlane.toml for {target}. What is commented out shows the default, or what might stand there.",
        '# Wherever a text stands: { env = "NAME" }, { file = "/run/secrets/name" } or { secret = "NAME" }.',
        "# fastlane config check tells what is wrong; fastlane config schema is for your editor.",
        "",
        "[serve]",
        '# workers = "auto"',
        "# (fastlane config lists every option)",
    ]
    for part in (_pubsub(declared), _sql(declared), _secrets(declared), _cron(declared)):
        block = list(part)
        if block:
            lines += ["", *block]
    return "\n".join(lines) + "\n"


def _pubsub(declared: Declared) -> Iterator[str]:
    if not declared.topics:
        return
    yield "# A broker, named once. kind: local | nsq | aws | gcp | postgres. Examples of the others:"
    yield '#   kind = "nsq"        nsqd = ["nsqd-1:4150"], lookupd = ["lookupd-1:4161"]'
    yield '#   kind = "aws"        region = "eu-north-1"'
    yield '#   kind = "gcp"        project = "my-project"'
    yield f'#   kind = "postgres"   database = "{(*declared.databases, "main")[0]}"'
    yield "[providers.events]"
    yield 'kind = "local"'
    yield ""
    yield "[pubsub]"
    yield 'provider = "events"            # for every topic that names none'
    yield '# publish_timeout = "10s"'
    yield "# max_outgoing = 1000"
    for topic, subscriptions in declared.topics:
        yield ""
        yield f"[pubsub.topics.{topic}]"
        yield '# provider = "events"'
        yield f'# name = "{topic}"            # what the broker calls it; on aws also arn = "arn:aws:sns:…"'
        for subscription in subscriptions:
            yield f"[pubsub.topics.{topic}.subscriptions.{subscription}]"
            yield f'# name = "{topic}-{subscription}"'


def _sql(declared: Declared) -> Iterator[str]:
    if not declared.databases:
        return
    yield "[sql]"
    yield '# migrate = "check"            # refuses to boot while a migration is pending; "boot" applies it then'
    yield "# instances = 1                # machines that share the databases' connections"
    for name in declared.databases:
        variable = "DATABASE_URL" if len(declared.databases) == 1 else f"{name.upper().replace('-', '_')}_DATABASE_URL"
        yield ""
        yield f"[sql.databases.{name}]"
        yield f'url = {{ env = "{variable}" }}   # postgresql://user:password@host:5432/{name}'
        yield f'# password = {{ secret = "{name.upper().replace("-", "_")}_PASSWORD" }}   # where it is rotated'
        yield '# direct_url = { env = "DIRECT_DATABASE_URL" }   # around a pooler, for migrations and LISTEN'
        yield '# pooler = "transaction"       # url is pgbouncer in transaction mode'
        yield '# tls = "verify-full"'
        yield "# pool = { min = 0, max = 10 }"


def _secrets(declared: Declared) -> Iterator[str]:
    if not declared.secrets:
        return
    keys = describe_keys(SecretsOptions)
    yield f"# {keys['provider']}"
    yield "[secrets]"
    yield 'provider = "env"'
    yield '# refresh = "5m"'
    yield "# [secrets.names]              # where a secret is called otherwise there"
    for name in declared.secrets:
        yield f'# {name} = "{name}"'


def _cron(declared: Declared) -> Iterator[str]:
    if not declared.cron_jobs:
        return
    for name, due in declared.cron_jobs:
        yield f"# {name}: {due}"
    yield "[cron]"
    yield f"# {describe_keys(CronOptions)['store']}"
    if declared.databases:
        yield '# store = "database"'
        # Which one of several can't be known: the first is as good as any other, and the file is right as it stands.
        yield f'{"" if len(declared.databases) > 1 else "# "}database = "{declared.databases[0]}"'
    else:
        yield 'store = "local"'
