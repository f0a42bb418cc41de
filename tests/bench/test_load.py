"""What the load generators are told, and what they say."""

import json
from pathlib import Path

import pytest

from bench.load import Load, LoadFailed, oha_command, parse_oha, parse_wrk, wrk_command, wrk_script
from bench.scenarios import Scenario, scenario_named


def test_a_lua_string_survives_quotes_and_digits_behind_them():
    scenario = Scenario("x", "x", "GET", "/", {}, {"sec-ch-ua": '"Chromium";v="142"'})

    assert r'wrk.headers["sec-ch-ua"] = "\034Chromium\034;v=\034142\034"' in wrk_script(scenario)


def test_a_body_and_a_method_are_sent():
    script = wrk_script(scenario_named("schema"))

    assert 'wrk.method = "POST"' in script
    assert "wrk.body = " in script


def test_only_heads_that_differ_are_made_anew_for_each_request():
    assert "request = function()" in wrk_script(scenario_named("varied"))
    assert "request = function()" not in wrk_script(scenario_named("browser"))


def test_wrk_is_run_for_whole_seconds(tmp_path: Path):
    command = wrk_command(scenario_named("hello"), "http://127.0.0.1:1/hello", 150, 0.4, tmp_path)

    assert command[command.index("--duration") + 1] == "1s"
    assert (tmp_path / "hello.lua").exists()


def test_wrk_reports_in_one_line_of_json():
    output = (
        'Running 3s test\n\n@result {"requests": 300, "microseconds": 2000000, "errors": 1, "p50": 700, "p99": 4100}\n'
    )

    load = parse_wrk(output)

    assert load == Load(requests=300, seconds=2.0, errors=1, p50=0.7, p99=4.1)
    assert load.per_second == 150


def test_wrk_without_a_report_is_a_failure():
    with pytest.raises(LoadFailed, match="bad script"):
        parse_wrk("bad script")


def test_oha_cannot_vary_a_head(tmp_path: Path):
    with pytest.raises(LoadFailed, match="differs on every request"):
        oha_command(scenario_named("varied"), "http://127.0.0.1:1/", 1, 1, tmp_path)


def test_oha_is_given_headers_and_body(tmp_path: Path):
    command = oha_command(scenario_named("schema"), "http://127.0.0.1:1/orders", 150, 3, tmp_path)

    assert "X-Tenant: north-shop" in command
    assert json.loads(command[command.index("-d") + 1])["sku"] == "LMP-0042"


def test_requests_that_oha_cut_off_at_its_deadline_are_no_errors():
    output = {
        "summary": {"total": 2.0},
        "latencyPercentiles": {"p50": 0.001, "p99": 0.004},
        "statusCodeDistribution": {"200": 90, "500": 10},
        "errorDistribution": {"aborted due to deadline": 150, "connection refused": 2},
    }

    assert parse_oha(json.dumps(output)) == Load(requests=100, seconds=2.0, errors=12, p50=1.0, p99=4.0)
