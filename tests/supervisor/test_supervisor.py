from __future__ import annotations

import logging
import signal
from dataclasses import replace

import pytest

from fastlane.supervisor.machine import Died, Signalled
from tests.supervisor.world import World


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.DEBUG, "fastlane.supervisor")


# Start


def test_workers_are_ordered_when_the_template_has_loaded():
    world = World(workers=2)
    world.step()
    assert world.orders == []
    world.load()
    assert [index for _, index, _, _ in world.orders] == [0, 1]


def test_the_first_ready_worker_makes_the_generation_serve(caplog):
    world = World(workers=2)
    world.load()
    first, second = world.fork()
    assert world.supervisor.serving is None
    world.ready(first)
    assert world.supervisor.serving is not None
    assert "ready, 2 workers" not in caplog.text
    world.ready(second)
    assert "ready, 2 workers" in caplog.text


def test_a_failed_import_is_logged_once_and_ends_with_its_code(caplog):
    world = World(workers=2)
    world.fail_load(1, "can't import a: broken", 4)
    world.die(world.templates[1], status=4)
    assert world.supervisor.exit_code == 4
    assert caplog.text.count("broken") == 1


def test_a_template_that_dies_ends_the_first_start_with_4(caplog):
    world = World()
    world.die(world.templates[1], status=-signal.SIGSEGV)
    assert world.supervisor.exit_code == 4
    assert "SIGSEGV" in caplog.text


def test_a_failed_lifespan_is_logged_once_whatever_the_number_of_workers(caplog):
    world = World(workers=3)
    world.load()
    pids = world.fork()
    world.fails(pids[0], "no database")
    world.fails(pids[1], "no database")
    assert world.shot() == pids[1:]
    assert world.supervisor.exit_code is None
    world.die(pids[2], status=-9)
    assert world.supervisor.exit_code == 3
    assert caplog.text.count("no database") == 1


def test_a_worker_that_dies_silently_before_it_is_ready_ends_the_first_start(caplog):
    world = World()
    world.load()
    [pid] = world.fork()
    world.die(pid, status=5)
    assert world.supervisor.exit_code == 3
    assert "exit code 5 before it was ready" in caplog.text


def test_each_step_of_the_boot_process_has_the_boot_timeout(caplog):
    world = World(boot_timeout=10)
    world.pass_time(9)
    world.boots("preparing sql")
    world.pass_time(9)
    assert world.supervisor.exit_code is None
    world.boots("waiting for another machine's migration")
    world.pass_time(9.9)
    assert world.supervisor.exit_code is None
    world.pass_time(0.2)
    world.die(world.templates[1], status=-9)
    assert world.supervisor.exit_code == 3
    assert "was waiting for another machine's migration, and not done with it within --boot-timeout 10 s" in caplog.text


def test_a_boot_process_that_fails_in_a_reload_leaves_the_old_generation_serving(caplog):
    world = World(workers=1)
    [pid] = world.boot()
    world.signal(signal.SIGHUP)
    world.boots("preparing sql", generation=2)
    world.fail_load(2, "a migration is pending", 2)
    assert world.serving() == [pid]
    assert world.supervisor.exit_code is None
    assert caplog.text.count("a migration is pending") == 1


def test_an_import_beyond_the_boot_timeout_ends_with_3(caplog):
    world = World(boot_timeout=10)
    world.pass_time(9.9)
    assert world.supervisor.exit_code is None
    world.pass_time(0.2)
    assert world.supervisor.exit_code is None
    world.step()
    assert world.supervisor.exit_code == 3
    assert "--boot-timeout 10 s" in caplog.text


def test_a_worker_beyond_the_boot_timeout_ends_the_first_start_with_3(caplog):
    world = World(boot_timeout=10)
    world.load()
    [pid] = world.fork()
    world.pass_time(11)
    assert world.shot() == [pid]
    world.die(pid, status=-9)
    assert world.supervisor.exit_code == 3
    assert "was not ready within --boot-timeout" in caplog.text


def test_a_failure_that_nobody_survives_does_not_hold_the_end():
    world = World(workers=2)
    world.load()
    first, _ = world.fork()
    world.fails(first, "no database")
    world.pass_time(5)  # the other one was killed, and does not die
    assert world.supervisor.exit_code == 3


def test_threads_started_at_import_are_named(caplog):
    world = World()
    world.load(threads=["poller"])
    assert "poller" in caplog.text
    assert "--no-preload" in caplog.text


# Stop


def test_term_drains_all_and_ends_with_0():
    world = World(workers=2)
    pids = world.boot()
    world.signal(signal.SIGTERM)
    assert world.termed() == pids
    assert world.has_stopped_listening
    assert world.board.stopping
    assert world.ended_templates == [1]
    world.die(*pids)
    assert world.supervisor.exit_code == 0


def test_a_second_term_changes_nothing():
    world = World()
    [pid] = world.boot()
    world.signal(signal.SIGTERM)
    world.signal(signal.SIGTERM)
    assert world.killed == [(pid, signal.SIGTERM)]


def test_who_does_not_stop_is_killed_two_seconds_after_the_graceful_timeout():
    world = World(graceful_timeout=5, drain_delay=1)
    [pid] = world.boot()
    world.signal(signal.SIGTERM)
    world.pass_time(7.9)
    assert world.shot() == []
    world.pass_time(0.2)
    assert pid in world.shot()
    world.die(pid, status=-9)
    assert world.supervisor.exit_code == 0


def test_a_worker_that_can_not_be_killed_does_not_hold_the_end():
    world = World(graceful_timeout=5)
    world.boot()
    world.signal(signal.SIGTERM)
    world.pass_time(7.1)
    world.pass_time(2.1)
    assert world.supervisor.exit_code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGQUIT, 131), (signal.SIGINT, 130)])
def test_quit_and_a_second_int_end_at_once(number, code):
    world = World()
    [pid] = world.boot()
    if number == signal.SIGINT:
        world.signal(signal.SIGINT)
        assert world.termed() == [pid]
    world.signal(number)
    assert pid in world.shot()
    world.die(pid, status=-9)
    assert world.supervisor.exit_code == code


def test_term_before_anything_is_loaded_ends_with_0():
    world = World()
    world.signal(signal.SIGTERM)
    assert world.supervisor.exit_code == 0
    assert world.ended_templates == [1]


def test_term_takes_back_what_is_ordered_and_kills_what_starts():
    world = World(workers=2)
    world.load()
    [first_order, second_order] = world.orders
    world.orders = [first_order]
    [pid] = world.fork()
    slot = world.board.slot(second_order[2])
    slot.begin(999, 1, second_order[3])  # born, but the template has not said so
    world.signal(signal.SIGTERM)
    assert set(world.shot()) == {pid, 999}


def test_signals_are_ignored_once_it_stops():
    world = World(workers=2)
    world.boot()
    world.signal(signal.SIGTERM)
    world.signal(signal.SIGHUP)
    world.signal(signal.SIGTTIN)
    assert list(world.templates) == [1]
    assert world.supervisor.target == 2


# Reload


def test_a_reload_drains_the_old_when_all_new_are_ready(caplog):
    world = World(workers=2)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.load(2)
    new = world.fork()
    world.ready(new[0])
    assert world.termed() == []
    world.ready(new[1])
    assert sorted(world.termed()) == old
    assert world.ended_templates == [1]
    world.die(*old)
    assert world.serving() == new
    assert "generation 2 serves" in caplog.text


def test_a_reload_that_can_not_be_imported_keeps_the_old(caplog):
    world = World(workers=2)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.fail_load(2, "syntax error")
    world.die(world.templates[2], status=4)
    assert world.serving() == old
    assert world.termed() == []
    assert world.ended_templates == [2]
    assert "the old one keeps serving: syntax error" in caplog.text


def test_a_reload_whose_second_worker_fails_drains_the_first_and_keeps_the_old():
    world = World(workers=2)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.load(2)
    first, second = world.fork()
    world.ready(first)
    world.fails(second, "no database")
    assert world.termed() == [first]
    assert world.serving() == old


def test_a_reload_beyond_the_boot_timeout_keeps_the_old(caplog):
    world = World(boot_timeout=10)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.pass_time(11)
    assert world.serving() == old
    assert world.supervisor.coming is None
    assert "was not imported within --boot-timeout" in caplog.text


def test_the_newest_reload_wins():
    world = World()
    [old] = world.boot()
    world.signal(signal.SIGHUP)
    world.load(2)
    [started] = world.fork()
    world.signal(signal.SIGHUP)
    assert world.ended_templates == [2]
    assert world.shot() == [started]
    world.load(3)
    [new] = world.fork()
    world.die(started, status=-9)
    world.ready(new)
    assert world.termed() == [old]
    assert world.serving() == [new]


def test_a_reload_before_the_first_worker_is_ready_starts_again():
    world = World()
    world.signal(signal.SIGHUP)
    assert world.ended_templates == [1]
    [pid] = world.boot(2)
    assert world.serving() == [pid]


def test_surge_bounds_the_workers_beside_the_old():
    world = World(workers=3, surge=1)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.load(2)
    new: list[int] = []
    for count in (1, 2, 3):
        assert len(world.orders) == 1
        new += world.fork()
        assert len(world.serving()) == 4
        world.ready(new[-1])
        assert len(world.termed()) == count
    assert sorted(world.termed()) == old
    assert world.serving() == new


def test_a_failure_in_the_middle_of_a_bounded_reload_brings_the_old_code_back():
    world = World(workers=2, surge=1)
    world.boot()
    world.signal(signal.SIGHUP)
    world.load(2)
    [first] = world.fork()
    world.ready(first)
    [second] = world.fork()
    world.fails(second, "no database")
    assert first in world.termed()
    assert [generation for generation, *_ in world.orders] == [1]


def test_an_old_worker_that_dies_while_the_new_code_is_imported_is_replaced():
    world = World(workers=2)
    old = world.boot()
    world.signal(signal.SIGHUP)
    world.die(old[0], status=-9)
    world.pass_time(1)
    assert [generation for generation, *_ in world.orders] == [1]


def test_a_reload_reads_the_settings_again_but_not_the_addresses():
    world = World(reread=lambda: replace(world.settings, workers=3, addresses=()))
    world.boot()
    world.signal(signal.SIGHUP)
    world.boot(2)
    assert len(world.serving()) == 3
    assert world.supervisor.settings.addresses == world.settings.addresses


def test_settings_that_can_not_be_read_are_logged_and_nothing_is_reloaded(caplog):
    def reread():
        raise ValueError("serve.workers: expected a number")

    world = World(reread=reread)
    world.boot()
    world.signal(signal.SIGHUP)
    assert list(world.templates) == [1]
    assert "serve.workers: expected a number" in caplog.text


def test_what_an_abandoned_generation_says_is_ignored():
    world = World()
    world.boot()
    world.signal(signal.SIGHUP)
    world.signal(signal.SIGHUP)
    world.load(2)
    assert world.orders == []


# Other signals


def test_ttin_and_ttou_change_the_number_of_workers():
    world = World(workers=2)
    pids = world.boot()
    world.signal(signal.SIGTTIN)
    [third] = world.fork()
    world.ready(third)
    world.signal(signal.SIGTTOU)
    assert world.termed() == [third]
    world.die(third)
    for _ in range(3):
        world.signal(signal.SIGTTOU)
    assert world.serving() == pids[:1]


def test_winch_drains_all_workers_and_a_reload_brings_them_back():
    world = World(workers=2)
    pids = world.boot()
    world.signal(signal.SIGWINCH)
    assert world.termed() == pids
    world.die(*pids)
    world.signal(signal.SIGHUP)
    assert len(world.boot(2)) == 2


def test_winch_is_ignored_with_a_terminal():
    world = World(has_terminal=True)
    world.boot()
    world.signal(signal.SIGWINCH)
    assert world.termed() == []


def test_usr1_reaches_the_workers():
    world = World(workers=2)
    world.load()
    order = world.orders.pop()  # one is not born yet
    [pid] = world.fork()
    assert order
    world.signal(signal.SIGUSR1)
    assert world.killed == [(pid, signal.SIGUSR1)]


def test_usr2_starts_a_new_supervisor_beside_this_one_once(caplog):
    world = World()
    world.boot()
    world.signal(signal.SIGUSR2)
    world.successor = 556
    world.signal(signal.SIGUSR2)
    assert "there is a new supervisor already (pid 555)" in caplog.text
    world.shares = True
    world.signal(signal.SIGTERM)
    assert world.told[-2:] == ["MAINPID=555", "STOPPING=1"]
    assert world.board.shared


def test_a_new_supervisor_that_dies_leaves_this_one_serving(caplog):
    world = World()
    [pid] = world.boot()
    world.signal(signal.SIGUSR2)
    world.die(555, status=4)
    assert "the new supervisor (pid 555) ended with exit code 4" in caplog.text
    assert world.serving() == [pid]
    world.signal(signal.SIGUSR2)
    assert caplog.text.count("starts beside this one") == 2


def test_usr2_is_refused_as_process_1(caplog):
    world = World()
    world.successor = None
    world.boot()
    world.signal(signal.SIGUSR2)
    assert "not possible as process 1" in caplog.text


def test_systemd_hears_of_every_change():
    world = World()
    [old] = world.boot()
    assert world.told == ["READY=1", "STATUS=generation 1, 1 worker"]
    world.told.clear()
    world.signal(signal.SIGHUP)
    assert world.told == ["RELOADING=1", "MONOTONIC_USEC=1000000000"]
    world.fail_load(2)
    assert world.told[2:] == ["READY=1", "STATUS=generation 1, 1 worker"]
    world.told.clear()
    world.signal(signal.SIGTERM)
    assert world.told == ["STOPPING=1"]
    assert world.termed() == [old]


# Templates


def test_a_lost_template_is_started_again_after_a_while(caplog):
    world = World()
    [pid] = world.boot()
    world.die(world.templates[1], status=-9)
    assert "importing a:app again in 0.1 s" in caplog.text
    world.pass_time(0.2)
    world.load(1)
    world.die(pid, status=-9)
    world.pass_time(1)
    assert len(world.orders) == 1


def test_a_lost_template_that_can_not_be_imported_again_is_tried_later(caplog):
    world = World()
    [pid] = world.boot()
    world.die(world.templates[1], status=-9)
    world.pass_time(0.2)
    world.fail_load(1, "the file is gone")
    assert "in 0.2 s: the file is gone" in caplog.text
    world.die(world.templates[1], status=4)  # already known
    world.pass_time(0.1)
    assert world.supervisor.exit_code is None
    assert world.serving() == [pid]


def test_a_worker_whose_death_comes_before_the_word_of_its_birth_is_replaced():
    world = World(workers=2)
    world.load()
    world.ready(world.fork()[0])
    [survivor, other] = world.serving()
    world.die(other, status=-9)
    world.pass_time(0.2)
    [(generation, index, slot, order)] = world.orders
    world.step(Died(777, 1))
    from fastlane.supervisor.machine import TemplateSaid

    world.step(TemplateSaid(generation, {"forked": 777, "slot": slot, "order": order}))
    assert survivor in world.serving()
    world.pass_time(1)
    assert world.orders[-1][1] == index
    assert len(world.orders) == 2


# Time


def test_after_a_pause_of_the_machine_every_deadline_starts_anew(caplog):
    world = World(workers=1, timeout=30, boot_timeout=10)
    [pid] = world.boot()
    world.signal(signal.SIGTTIN)
    [starting] = world.fork()
    world.signal(signal.SIGHUP)

    def wait(seconds, workers):
        world.clock += 3600
        return []

    world.wait = wait
    calls = 0
    advance = world.supervisor.advance

    def once():
        nonlocal calls
        calls += 1
        advance()
        world.supervisor.exit_code = 0

    world.supervisor.advance = once
    world.supervisor._load = lambda *_: None
    assert world.supervisor.run() == 0
    assert calls == 1
    assert "stood still for 3599" in caplog.text
    assert world.killed == []
    assert {pid, starting} == set(world.serving())


def test_run_waits_until_the_next_deadline_and_no_longer_than_a_second():
    world = World()
    waits = []

    def wait(seconds, workers):
        waits.append((seconds, workers))
        world.clock += seconds
        return [Signalled(signal.SIGTERM)] if len(waits) == 3 else []

    world.wait = wait
    world.settings = replace(world.settings, boot_timeout=1.5)
    world.supervisor.settings = world.settings
    world.supervisor._generations = 0
    world.supervisor._load(world.settings)
    world.supervisor._load = lambda *_: None
    assert world.supervisor.run() in (0, 3)
    assert waits[0] == (1.0, [])
    assert waits[1][0] == pytest.approx(0.5)
