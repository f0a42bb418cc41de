"""The command line of the benchmark, and what it asks of the machine."""

import pytest

from bench.peers import PEERS, peer_named
from bench.run import chosen_peers, chosen_scenarios, main, parse_arguments, plan_of, split_cores
from bench.workers import busiest_share, parse_established

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1
   1: 0100007F:1F40 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 101 1
   2: 0100007F:C001 0100007F:1F40 01 00000000:00000000 00:00000000 00000000     0        0 102 1
   3: 0100007F:1F40 0100007F:C002 01 00000000:00000000 00:00000000 00000000     0        0 103 1
"""


def test_server_and_load_get_a_core_each():
    assert split_cores([3, 0, 1]) == ({3}, {0})


def test_one_core_is_shared():
    assert split_cores([0]) == ({0}, {0})


def test_quick_is_one_short_round_of_three_scenarios():
    options = parse_arguments(["--quick"])

    assert [scenario.name for scenario in chosen_scenarios(None, quick=True)] == ["hello", "schema", "browser"]
    assert (plan_of(options).rounds, plan_of(options).seconds) == (1, 1)


def test_what_is_asked_for_beats_quick():
    options = parse_arguments(["--quick", "--rounds", "5", "--scenario", "find"])

    assert plan_of(options).rounds == 5
    assert [scenario.name for scenario in chosen_scenarios(options.scenario, options.quick)] == ["find"]


def test_peers_are_chosen_by_name():
    assert [peer.name for peer in chosen_peers("bun,floor")] == ["bun", "floor"]
    assert chosen_peers(None) == list(PEERS)


def test_an_unknown_peer_ends_with_2_and_the_names_there_are(capsys: pytest.CaptureFixture[str]):
    assert main(["--only", "cobol"]) == 2
    assert "fastlane, bare-asgi" in capsys.readouterr().err


def test_fastlane_is_served_by_one_worker_without_an_access_log():
    command = peer_named("fastlane").command([8000])

    assert command[1:3] == ["serve", "bench.apps.fastlane_app:app"]
    assert command[-3:] == ["--workers", "1", "--no-access-log"]


def test_only_established_connections_to_the_server_s_port_count():
    assert parse_established(TABLE, 8000) == {"101", "103"}


def test_the_busiest_share_is_a_part_of_all_connections():
    assert busiest_share({1: 90, 2: 60}) == 0.6
    assert busiest_share({}) == 0.0
