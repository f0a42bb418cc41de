from __future__ import annotations

import time

from fastlane.pubsub.providers.local import clock as clock_module
from fastlane.pubsub.providers.local.clock import MachineClock, boot_identity
from fastlane.pubsub.providers.local.schema import create_or_check
from tests.pubsub.providers.local.rig import opened

HOUR = 3_600_000


def clock_of(store, identity):
    with store.transaction(durable=False):
        return MachineClock.load(store._connection, identity)


def test_a_boot_has_one_identity():
    assert boot_identity() == boot_identity()


def test_a_system_that_does_not_tell_its_boot_has_the_date(tmp_path, monkeypatch):
    monkeypatch.setattr(clock_module, "BOOT", tmp_path / "no such file")
    assert boot_identity() is None
    with opened(tmp_path / "pubsub.db") as store:
        assert abs(store.now() - time.time() * 1000) < 60_000


def test_setting_the_date_moves_no_clock_of_this_boot(tmp_path, monkeypatch):
    with opened(tmp_path / "pubsub.db") as store:
        before = clock_of(store, "this")
        real = time.time()
        for jump in (-86_400.0, 86_400.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: real + jump)
            assert abs(clock_of(store, "this").now() - before.now()) < 60_000


def test_across_boots_the_clock_never_goes_back(tmp_path, monkeypatch):
    with opened(tmp_path / "pubsub.db") as store:
        clock_of(store, "first")
        latest = store.one("SELECT max(latest) FROM clock")  # what is known of it afterwards
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert clock_of(store, "second").now() >= latest
        store.execute("UPDATE clock SET latest = ?", (latest + HOUR,))
        assert clock_of(store, "third").now() >= latest + HOUR


def test_a_new_boot_begins_after_the_newest_message(tmp_path, monkeypatch):
    with opened(tmp_path / "pubsub.db") as store:
        stored = store.now() + HOUR
        store.execute("INSERT INTO message VALUES (1, 'id', NULL, 0, ?, 0, NULL, x'')", (stored,))
        assert clock_of(store, "next").now() >= stored


def test_old_boots_are_forgotten(tmp_path):
    with opened(tmp_path / "pubsub.db") as store:
        for boot in range(20):
            clock_of(store, f"boot {boot}")
        assert store.one("SELECT count(*) FROM clock") == clock_module.KEPT_BOOTS


def test_creating_twice_changes_nothing(tmp_path):
    with opened(tmp_path / "pubsub.db") as store, store.transaction(durable=False):
        before = store.one("PRAGMA schema_version")
        create_or_check(store._connection, "file")
        assert store.one("PRAGMA schema_version") == before
