"""Reloads and other changes of the workers, under a load that counts what is lost."""

from __future__ import annotations

import os
import signal

import pytest

from tests.processes.load import Load
from tests.processes.served import PLAIN, wait_until

pytestmark = pytest.mark.process

TWO = PLAIN.replace('VERSION = "one"', 'VERSION = "two"')


def versions(load: Load) -> set[str]:
    return {body.split()[0] for body in list(load.answers)}


def answers_come(load: Load, version: str) -> None:
    """The old workers answer until they have heard of the new ones."""
    wait_until(lambda: version in versions(load), what=f"an answer of version {version}")


def test_two_reloads_lose_nothing_and_serve_the_new_code(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port) as load:
        served.write(TWO)
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2 serves")
        answers_come(load, "two")
        load.more(200)
        served.write(PLAIN.replace('VERSION = "one"', 'VERSION = "three"'))
        served.signal(signal.SIGHUP)
        served.wait_for("generation 3 serves")
        answers_come(load, "three")
        load.more(200)
    assert load.lost == []
    assert versions(load) == {"one", "two", "three"}
    assert load.slowest < 3.0
    wait_until(lambda: served.get().startswith("three "), what="an answer of the new version")
    assert served.stop() == 0


@pytest.mark.parametrize(
    "broken",
    [
        "import nosuchmodule",
        "async def app(scope, receive, send):\n    await receive()\n    raise RuntimeError('no database')",
        "import os\nos._exit(1)",
    ],
)
def test_a_reload_of_broken_code_loses_nothing_and_keeps_the_old(serve, broken):
    served = serve("--workers", "2").ready()
    workers = served.workers()
    with Load(served.port) as load:
        served.write(broken)
        served.signal(signal.SIGHUP)
        served.wait_for("the new version can't start, the old one keeps serving")
        load.more(200)
    assert load.lost == []
    assert versions(load) == {"one"}
    assert served.workers() == workers
    served.write(TWO)
    served.signal(signal.SIGHUP)
    served.wait_for("generation 3 serves")
    # The old workers still accept until they have heard of it.
    wait_until(lambda: served.get().startswith("two "), what="an answer of the new version")


def test_the_newest_of_two_reloads_wins(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port) as load:
        served.write("import time\ntime.sleep(3600)")
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2")
        served.write(TWO)
        served.signal(signal.SIGHUP)
        served.wait_for("generation 3 serves")
        answers_come(load, "two")
    assert load.lost == []
    assert versions(load) == {"one", "two"}


def test_a_reload_with_surge_1_replaces_one_worker_after_the_other(serve):
    served = serve("--workers", "3", "--surge", "1").ready()
    old = set(served.workers())
    with Load(served.port) as load:
        served.write(TWO)
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2 serves")
        load.more(100)
    assert load.lost == []
    wait_until(lambda: not old & set(served.workers()), what="the end of the old workers")
    assert len(served.workers()) == 3


def test_a_reload_reads_the_options_again(serve, tmp_path):
    (tmp_path / "fastlane.toml").write_text("[serve]\nworkers = 1\n")
    served = serve().ready()
    (tmp_path / "fastlane.toml").write_text("[serve]\nworkers = 3\n")
    served.signal(signal.SIGHUP)
    served.wait_for("generation 2 serves")
    wait_until(lambda: len(served.workers()) == 3)
    (tmp_path / "fastlane.toml").write_text("[serve]\nworkers = 'many'\n")
    served.signal(signal.SIGHUP)
    served.wait_for("not reloading.*serve.workers")
    assert served.get().startswith("one ")


def test_term_in_the_middle_of_a_reload_is_acted_on_at_once(serve):
    served = serve("--workers", "2").ready()
    served.write("import time\ntime.sleep(3600)")
    served.signal(signal.SIGHUP)
    served.wait_for("generation 2")
    assert served.stop() == 0


def test_workers_come_and_go_one_by_one_without_a_loss(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port) as load:
        served.signal(signal.SIGTTIN)
        wait_until(lambda: len(served.workers()) == 3)
        load.more(100)
        served.signal(signal.SIGTTOU)
        served.wait_for("2 workers instead of 3")
        served.signal(signal.SIGTTOU)
        served.wait_for("1 workers instead of 2")
        wait_until(lambda: len(served.workers()) == 1)
        load.more(100)
        served.signal(signal.SIGTTOU)  # there is always one left
        load.more(100)
    assert load.lost == []
    assert len(served.workers()) == 1


def test_a_worker_that_gets_term_drains_and_is_replaced(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port) as load:
        [first, second] = served.workers()
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: first not in served.workers() and len(served.workers()) == 2)
        load.more(100)
    assert load.lost == []
    assert second in served.workers()


def test_workers_are_replaced_after_so_many_requests_successor_first(serve):
    served = serve("--workers", "2", "--max-requests", "150").ready()
    first = set(served.workers())
    with Load(served.port) as load:
        wait_until(lambda: not first & set(served.workers()))
        assert min(len(served.workers()) for _ in range(50)) >= 2
    assert load.lost == []
    assert "--max-requests" in served.text


def test_workers_are_replaced_at_the_end_of_their_lifetime(serve):
    served = serve("--workers", "2", "--max-lifetime", "1s").ready()
    first = set(served.workers())
    with Load(served.port) as load:
        wait_until(lambda: not first & set(served.workers()))
    assert load.lost == []
    assert "--max-lifetime" in served.text


def test_workers_that_grow_are_replaced(serve):
    grows = PLAIN.replace("    body = f", "    HOARD.append(bytearray(1_000_000))\n    body = f").replace(
        'VERSION = "one"', 'VERSION = "one"\nHOARD = []'
    )
    served = serve("--max-rss", "100MB", app=grows).ready()
    [first] = served.workers()
    with Load(served.port, keep_alive=2, short=0) as load:
        wait_until(lambda: first not in served.workers())
    assert load.lost == []
    assert "--max-rss" in served.text
