"""``fastlane config example``: a file that this very application can be served with."""

from __future__ import annotations

import tomllib

from .conftest import Write
from .declaring import APP, run


def test_the_example_has_all_that_is_declared_and_is_in_order(write: Write) -> None:
    directory = write("service.py", APP).parent
    outcome = run(directory, "config", "example", "service:app")
    assert outcome.code == 0
    found = tomllib.loads(outcome.out)
    assert set(found["pubsub"]["topics"]["user-signups"]["subscriptions"]) == {"send-mail"}
    assert set(found["sql"]["databases"]) == {"blog"}
    assert "# MAIL_KEY = " in outcome.out
    assert "# trending: every 10m\n" in outcome.out
    write("fastlane.toml", outcome.out)
    needed = {"DATABASE_URL": "postgresql://u@h/d", "MAIL_KEY": "m4il-key", "API_KEY": "4pi-key"}
    checked = run(directory, "config", "check", "service:app", **needed)
    assert checked.out.endswith("service:app: all in order\n")
