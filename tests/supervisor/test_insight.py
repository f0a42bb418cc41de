from __future__ import annotations

import json
import re
import signal

import pytest

from fastlane.supervisor.responder import Asked
from fastlane.supervisor.scoreboard import LATENCY_BOUNDS
from tests.supervisor.world import World


def ask(world: World, path: str, is_local: bool = False):
    answers = []
    world.supervisor.handle(Asked(path, is_local, answers.append))
    [answer] = answers
    return answer


def samples(world: World) -> dict[str, float]:
    answer = ask(world, "/metrics")
    assert answer.media_type.startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_alive_from_the_beginning_and_ready_with_the_first_worker():
    world = World(workers=2)
    assert ask(world, "/healthz").status == 200
    assert ask(world, "/readyz") == (503, "not ready: no worker is ready\n", "text/plain; charset=utf-8")
    world.load()
    first, _ = world.fork()
    world.ready(first)
    assert ask(world, "/readyz").status == 200


def test_not_ready_while_stopping_but_alive():
    world = World(workers=1, drain_delay=5.0)
    world.boot()
    world.signal(signal.SIGTERM)
    assert ask(world, "/readyz")[:2] == (503, "not ready: stopping\n")
    assert ask(world, "/healthz").status == 200


def test_not_ready_when_every_event_loop_hangs():
    world = World(workers=2)
    pids = world.boot()
    world.pass_time(3.0, pids[0])
    assert ask(world, "/readyz").status == 200
    world.pass_time(3.0, *pids)
    assert ask(world, "/readyz").status == 503


def test_not_ready_when_the_checks_of_every_worker_fail():
    world = World(workers=2)
    pids = world.boot()
    world.board.slot(world.slot_of(pids[0])).refuse(True)
    assert ask(world, "/readyz").status == 200
    world.board.slot(world.slot_of(pids[1])).refuse(True)
    assert ask(world, "/readyz")[:2] == (503, "not ready: the application's checks fail\n")
    assert {row["state"] for row in json.loads(ask(world, "/status", True).body)["workers"]} == {"refusing"}


def test_other_paths_do_not_exist():
    assert ask(World(), "/").status == 404


def test_the_table_of_workers_is_for_the_control_socket_only():
    world = World(workers=2)
    pids = world.boot()
    world.memory[pids[0]] = 1234
    world.board.slot(world.slot_of(pids[0])).beat(connections=3, requests=40, in_flight=2)
    world.pass_time(2.5)
    assert ask(world, "/status").status == 404
    status = json.loads(ask(world, "/status", True).body)
    assert (status["name"], status["ready"]) == ("a:app", True)
    assert status["workers"][0] == {
        "worker": 0,
        "pid": pids[0],
        "generation": 1,
        "state": "ready",
        "age": 2.5,
        "connections": 3,
        "in_flight": 2,
        "requests": 40,
        "rss": 1234,
        "restarts": 0,
        "work": {},
    }
    assert [row["pid"] for row in status["workers"]] == pids


def test_counters_go_on_when_a_worker_is_replaced():
    world = World(workers=1)
    [pid] = world.boot()
    world.board.slot(world.slot_of(pid)).beat(connections=1, requests=40, in_flight=0)
    assert samples(world)['fastlane_requests_total{worker="0"}'] == 40
    world.die(pid, status=1)
    world.pass_time(30)
    [pid] = world.fork()
    world.ready(pid)
    world.board.slot(world.slot_of(pid)).beat(connections=2, requests=2, in_flight=1)
    found = samples(world)
    assert found['fastlane_requests_total{worker="0"}'] == 42
    assert found['fastlane_connections{worker="0"}'] == 2
    assert found['fastlane_requests_in_flight{worker="0"}'] == 1
    assert found['fastlane_worker_restarts_total{worker="0"}'] == 1
    assert found['fastlane_workers{state="ready"}'] == 1


def test_memory_is_what_the_system_says():
    world = World(workers=1)
    [pid] = world.boot()
    world.memory[pid] = 5 * 2**20
    assert samples(world)['fastlane_worker_resident_memory_bytes{worker="0"}'] == 5 * 2**20


def test_messages_are_counted_where_there_are_some_and_totals_outlive_their_worker():
    world = World(workers=2)
    first, second = world.boot()
    assert "messages" not in ask(world, "/metrics").body
    world.board.slot(world.slot_of(first)).publish_work([10, 2, 1, 3, 4, 1])
    world.board.slot(world.slot_of(second)).publish_work([20, 0, 0, 5, 0, 0])
    found = samples(world)
    assert found['fastlane_messages_handled_total{worker="0"}'] == 10
    assert found['fastlane_messages_running{worker="1"}'] == 5
    assert found['fastlane_messages_outgoing{worker="0"}'] == 4
    assert found['fastlane_subscriptions_unreachable{worker="0"}'] == 1
    world.die(first, status=1)
    found = samples(world)
    assert found['fastlane_messages_handled_total{worker="0"}'] == 10
    assert found['fastlane_messages_failed_total{worker="0"}'] == 2
    assert found['fastlane_messages_dead_total{worker="0"}'] == 1
    assert 'fastlane_messages_running{worker="0"}' not in found


def test_the_histogram_is_cumulative_and_of_the_whole_tree():
    world = World(workers=2, metrics=True)
    pids = world.boot()
    for pid in pids:
        world.board.slot(world.slot_of(pid)).publish_latencies([1] * (len(LATENCY_BOUNDS) + 1), 0.25)
    world.die(pids[0], status=1)
    found = samples(world)
    name = "fastlane_request_duration_seconds"
    buckets = [value for key, value in found.items() if key.startswith(name + "_bucket")]
    assert buckets == [2 * count for count in range(1, len(LATENCY_BOUNDS) + 2)]
    assert found[name + '_bucket{le="+Inf"}'] == found[name + "_count"] == 2 * (len(LATENCY_BOUNDS) + 1)
    assert found[name + "_sum"] == 0.5


@pytest.mark.parametrize("metrics", [False, True])
def test_there_is_a_histogram_only_where_it_is_measured(metrics):
    world = World(workers=1, metrics=metrics)
    world.boot()
    assert ("request_duration" in ask(world, "/metrics").body) is metrics


def test_every_metric_says_what_it_is():
    world = World(workers=1, metrics=True)
    world.boot()
    text = ask(world, "/metrics").body
    named = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    assert named == set(re.findall(r"^# HELP (\w+) \w", text, re.MULTILINE))
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"^(\w+)", text, re.MULTILINE)}
    assert used == named
