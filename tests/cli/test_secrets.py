"""``fastlane secrets``: names and places, never a value."""

from __future__ import annotations

import json

from .conftest import Write
from .declaring import APP, run


def test_the_list_has_names_sources_and_places(write: Write) -> None:
    directory = write("service.py", APP).parent
    write("fastlane.toml", "[secrets]\nprefix = 'P_'\n[sql.databases.blog]\nurl = { secret = 'DATABASE_URL' }\n")
    outcome = run(directory, "secrets", "list", "service:app")
    assert outcome.out.splitlines() == [
        "API_KEY       variable P_API_KEY       service.py:11",
        "DATABASE_URL  variable P_DATABASE_URL  the configuration",
        "MAIL_KEY      variable P_MAIL_KEY      service.py:11",
    ]
    found = json.loads(run(directory, "secrets", "list", "service:app", "--json").out)
    assert found[0] == {"name": "API_KEY", "source": "variable P_API_KEY", "declared": "service.py:11"}


def test_an_app_without_secrets_says_so(write: Write) -> None:
    directory = write("service.py", "from fastlane import App\napp = App()\n").parent
    assert run(directory, "secrets", "list", "service:app").out == "service:app declares no secret\n"
    assert run(directory, "secrets", "check", "service:app").out == "service:app: 0 secrets, all there\n"


def test_a_check_looks_every_secret_up(write: Write) -> None:
    directory = write("service.py", APP).parent
    outcome = run(directory, "secrets", "check", "service:app", API_KEY="4pi-key")
    assert outcome.code == 1
    assert outcome.out.startswith("API_KEY: there (variable API_KEY)\nMAIL_KEY: missing (variable MAIL_KEY)\n")
    assert "1 secret is missing:\n  MAIL_KEY: the variable MAIL_KEY is not set (declared at" in outcome.out
    outcome = run(directory, "secrets", "check", "service:app", API_KEY="4pi-key", MAIL_KEY="m4il-key")
    assert outcome.code == 0
    assert outcome.out.endswith("service:app: 2 secrets, all there\n")
    assert "4pi-key" not in outcome.out


def test_dev_looks_where_the_development_server_does(write: Write) -> None:
    directory = write("service.py", APP).parent
    write(".env", "API_KEY=4pi-key\nMAIL_KEY=m4il-key\n")
    assert run(directory, "secrets", "check", "service:app", "--dev").code == 0
    assert run(directory, "secrets", "check", "service:app", "--embedded").code == 0
    assert run(directory, "secrets", "check", "service:app").code == 1


def test_a_provider_that_can_not_be_asked_is_the_mistake(write: Write) -> None:
    directory = write("service.py", APP).parent
    write("fastlane.toml", "[secrets]\nprovider = 'files'\npath = 'none'\n")
    outcome = run(directory, "secrets", "check", "service:app")
    assert outcome.code == 1
    assert outcome.out == (
        "[secrets] path: there is no directory 'none'\n    mend: mount the secrets there, or correct the path\n"
    )
    write("fastlane.toml", "[secrets]\nprovider = 'gcp'\nproject = 'p'\nendpoint = 'http://127.0.0.1:1'\n")
    outcome = run(directory, "secrets", "check", "service:app")
    assert outcome.code == 1
    assert outcome.out.startswith("secrets can't be read: Secret Manager: Cannot connect to host 127.0.0.1:1")
