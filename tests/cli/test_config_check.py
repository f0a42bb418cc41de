"""``fastlane config check``: what is declared, where it goes, what is missing."""

from __future__ import annotations

from .conftest import Write
from .declaring import APP, run

CONFIGURATION = """
[serve]
workers = 2
[providers.events]
kind = "local"
[pubsub]
provider = "events"
[pubsub.topics.user-signups]
name = "prod-user-signups"
[pubsub.topics.user-signups.subscriptions.send-mail]
name = "prod-send-mail"
[sql.databases.blog]
url = { secret = "DATABASE_URL" }
tls = "disable"
[secrets]
prefix = "P_"
"""
SECRETS = {
    "P_MAIL_KEY": "m4il-key",
    "P_API_KEY": "4pi-key",
    "P_DATABASE_URL": "postgresql://blog:hunter2222@db.internal/blog",
}


def test_everything_that_is_declared_is_shown_with_where_it_goes(write: Write) -> None:
    directory = write("service.py", APP).parent
    write("production.toml", CONFIGURATION)
    outcome = run(directory, "config", "check", "service:app", "--config", "production.toml", **SECRETS)
    assert outcome.out.splitlines() == [
        "file: production.toml",
        "topic user-signups -> events (local) prod-user-signups",
        "  subscription send-mail -> prod-send-mail",
        "database blog -> postgresql://blog@db.internal/blog",
        "cron job trending (every 10m) -> database",
        "secret API_KEY -> variable P_API_KEY (there)",
        "secret DATABASE_URL -> variable P_DATABASE_URL (there)",
        "secret MAIL_KEY -> variable P_MAIL_KEY (there)",
        "service:app: all in order",
    ]
    assert outcome.code == 0
    assert outcome.err == ""


def test_topics_and_subscriptions_are_shown_by_the_names_that_they_get_at_the_broker(write: Write) -> None:
    app = APP.replace('"user-signups", Signup', '"user-signups", Signup, order_by="id"')
    directory = write("service.py", app).parent
    write(
        "fastlane.toml",
        "[providers.events]\nkind = 'aws'\nregion = 'eu-north-1'\n[pubsub]\nprovider = 'events'\n"
        "[sql.databases.blog]\nurl = 'postgresql://db.internal/blog'\n",
    )
    outcome = run(directory, "config", "check", "service:app", MAIL_KEY="m4il-key", API_KEY="4pi-key")
    assert outcome.out.splitlines()[1:3] == [
        "topic user-signups -> events (aws) user-signups.fifo",
        "  subscription send-mail -> user-signups-send-mail.fifo",
    ]


def test_everything_that_is_wrong_is_told_at_once(write: Write) -> None:
    directory = write("service.py", APP).parent
    write("fastlane.toml", "[serve]\nworkers = 'x'\n[sql]\nmigrate = 'x'\n[secrets.names]\nMAIL_KEI = 'x'\n")
    outcome = run(directory, "config", "check", "service:app", API_KEY="4pi-key")
    assert outcome.code == 1
    assert "fastlane.toml: serve.workers: expected auto, or a whole number from 1 to 1024, got 'x'" in outcome.out
    assert "fastlane.toml: sql.migrate: expected one of boot, check, got 'x'" in outcome.out
    assert "[secrets] names.MAIL_KEI: no secret of this name is declared. Did you mean 'MAIL_KEY'?" in outcome.out
    assert outcome.out.endswith("mistakes in the configuration of service:app\n")


MISTAKEN = """
[pubsub]
provider = "local"
[pubsub.topics.user-signup]
name = "x"
[sql]
instances = "many"
[cron]
database = "blogg"
[secrets.names]
MAIL_KEI = "x"
"""
TOLD = (
    "fastlane.toml: sql.instances: expected a whole number at least 1, got 'many'",
    "fastlane.toml: [pubsub.topics.user-signup]: no topic 'user-signup' is declared",
    "fastlane.toml: [cron] database: there is no database 'blogg'",
    "fastlane.toml: [secrets] names.MAIL_KEI: no secret of this name is declared",
)


def test_mistakes_of_every_kind_come_together(write: Write) -> None:
    directory = write("service.py", APP).parent
    write("fastlane.toml", MISTAKEN)
    outcome = run(directory, "config", "check", "service:app")
    assert [told for told in TOLD if told not in outcome.out] == []
    outcome = run(directory, "serve", "service:app", "--port", "0")
    assert outcome.code == 2
    assert [told for told in TOLD if told not in outcome.err] == []


def test_what_can_not_be_referred_to_hides_no_other_mistake(write: Write) -> None:
    directory = write("service.py", APP).parent
    write(
        "fastlane.toml",
        '[pubsub]\nprovider = "local"\n[pubsub.topics.user-signup]\nname = { file = "none" }\n'
        '[sql.databases.blog]\nurl = { env = "DATABASE_URL" }\n[sql.databases.other]\nurl = { secret = "NO" }\n',
    )
    for verb in (("config", "check", "service:app"), ("serve", "service:app", "--port", "0")):
        outcome = run(directory, *verb)
        text = outcome.out + outcome.err
        assert "fastlane.toml: sql.databases.blog.url: the variable DATABASE_URL is not set" in text
        assert "pubsub.topics.user-signup.name: " in text
        assert "fastlane.toml: [pubsub.topics.user-signup]: no topic 'user-signup' is declared" in text
        assert "fastlane.toml: sql.databases.other: no database 'other' is declared" in text
        assert "expected postgresql://" not in text


def test_what_has_no_provider_is_missing_unless_it_may_be_embedded(write: Write) -> None:
    directory = write("service.py", APP).parent
    outcome = run(directory, "config", "check", "service:app")
    assert outcome.code == 1
    assert outcome.out.startswith("file: none (there is no fastlane.toml)\ntopic user-signups -> nothing\n")
    assert "MAIL_KEY: the variable MAIL_KEY is not set (declared at" in outcome.out
    write(".env", "MAIL_KEY=m4il-key\nAPI_KEY=4pi-key\n")
    for flag in ("--embedded", "--dev"):
        outcome = run(directory, "config", "check", "service:app", flag)
        assert "topic user-signups -> embedded" in outcome.out
        assert "secret MAIL_KEY -> .env or variable MAIL_KEY (there)" in outcome.out


def test_what_is_configured_but_declared_nowhere_is_refused(write: Write) -> None:
    directory = write("service.py", "from fastlane import App\napp = App()\n").parent
    write("fastlane.toml", "[pubsub.topics.user-signups]\nprovider = 'local'\n[sql.databases.blog]\nurl = 'x'\n")
    outcome = run(directory, "config", "check", "service:app")
    assert outcome.code == 1
    assert "user-signups" in outcome.out
    assert "blog" in outcome.out
    assert outcome.out.endswith("2 mistakes in the configuration of service:app\n")


def test_secrets_of_a_cloud_are_not_looked_up(write: Write) -> None:
    directory = write(
        "service.py", "from fastlane.secrets import Secret\nkey, app = Secret('MAIL_KEY'), print\n"
    ).parent
    write("fastlane.toml", "[secrets]\nprovider = 'aws'\nregion = 'eu-north-1'\n")
    outcome = run(directory, "config", "check", "service:app")
    expected = "secret MAIL_KEY -> AWS Secrets Manager, MAIL_KEY (not looked up: fastlane secrets check does)"
    assert expected in outcome.out
    assert outcome.code == 0


def test_a_file_that_is_not_there_is_told_once(write: Write) -> None:
    directory = write("service.py", APP).parent
    outcome = run(directory, "config", "check", "service:app", "--config", "none.toml")
    assert (outcome.code, outcome.err) == (2, "fastlane: --config: there is no file 'none.toml'\n")
