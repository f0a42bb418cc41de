"""The benchmark of databases: what is asked, who is asked, and how it is judged."""

import tomllib
from pathlib import Path

import pytest

from bench.measure import Plan, Results, Sample
from bench.sql import chosen, main, parse_arguments, plan_of
from bench.sql_peers import configuration, sql_peers
from bench.sql_report import judged, sql_section
from bench.sql_scenarios import SQL_SCENARIOS
from bench.verify import Reply, judge_answer
from fastlane.resources.configuration import ResourceConfiguration

INSERT = next(scenario for scenario in SQL_SCENARIOS if scenario.name == "insert")


def results(**cpu: float) -> Results:
    found = Results()
    for name, value in cpu.items():
        sample = Sample(cpu=value, per_second=1e6 / value, p50=1.0, p99=2.0, busy=1.0, requests=1000, errors=0)
        found.add(name.replace("_", "-"), "one", sample)
    return found


def test_a_new_row_s_id_may_be_any():
    answer = b'{"id": %d, "title": "A new post", "body": "' + str(INSERT.answer["body"]).encode() + b'", "likes": 0}'

    assert judge_answer(INSERT, Reply(201, answer % 1001)) is None
    assert judge_answer(INSERT, Reply(201, answer % 1002)) is None
    assert "expected 201" in (judge_answer(INSERT, Reply(200, answer % 1)) or "")
    assert judge_answer(INSERT, Reply(201, (answer % 1).replace(b"A new", b"An old"))) is not None


def test_everybody_uses_the_same_database(tmp_path: Path):
    peers = sql_peers("postgresql://nobody@/blog", tmp_path)

    assert [peer.name for peer in peers if not peer.environment] == ["fastlane"]
    assert {peer.environment["BENCH_DATABASE"] for peer in peers if peer.environment} == {"postgresql://nobody@/blog"}


def test_fastlane_s_configuration_has_ten_connections():
    import msgspec

    read = msgspec.convert(tomllib.loads(configuration("postgresql://nobody@/blog")), ResourceConfiguration)

    assert (read.sql.databases["blog"].pool.min, read.sql.databases["blog"].pool.max) == (10, 10)


def test_the_bars_are_ratios_to_fastify_and_fastapi():
    found = {bar.text: bar.verdict for bar in judged(results(fastlane=20, fastify_pg=30, fastapi_asyncpg=70), {})}

    assert found["one: fastlane / fastify-pg ≤ 0.8"] == "pass"
    assert found["one: fastapi-asyncpg / fastlane ≥ 4"] == "FAIL"
    assert found["concurrent: fastlane / fastify-pg ≤ 0.8"] == "not measured"


def test_the_section_has_the_cheapest_first_and_what_failed(tmp_path: Path):
    found = results(fastlane=20, fastify_pg=30)
    found.fail("fastapi-asyncpg", "", "not installed: run it\nwith details")
    text = sql_section(
        found, sql_peers("", tmp_path), SQL_SCENARIOS, Plan(), {}, load="wrk 4", postgres="PostgreSQL 15", date="today"
    )

    assert text.index("**fastlane and fastlane.sql**") < text.index("Fastify, pg on Node")
    assert "| one: fastlane / fastify-pg ≤ 0.8 (bar) | 0.67 | pass |" in text
    assert "- not measured: fastapi-asyncpg : not installed: run it\n" in text


def test_quick_is_one_short_round():
    assert (plan_of(parse_arguments(["--quick"])).rounds, plan_of(parse_arguments(["--quick"])).seconds) == (1, 1)


def test_an_unknown_name_ends_with_2_and_the_names_there_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(KeyError, match="there are one, two"):
        chosen("three", ["one", "two"])
    assert main(["--only", "cobol"]) == 2
    assert "fastify-pg" in capsys.readouterr().err or "wrk is missing" in capsys.readouterr().err
