"""The page and the chart."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench.chart import draw
from bench.load import Load
from bench.measure import Plan, Results, Sample, sample_of
from bench.report import markdown, medians


def sample(cpu: float, busy: float = 1.0) -> Sample:
    return Sample(cpu=cpu, per_second=1e6 / cpu, p50=1.0, p99=2.0, busy=busy, requests=1000, errors=0)


def results() -> Results:
    found = Results()
    for cpu in (6.0, 5.0, 9.0):
        found.add("fastlane", "hello", sample(cpu))
        found.add("floor", "hello", sample(cpu - 1, busy=0.5))
    for peer in ("fastlane", "floor"):
        found.cold_start[peer] = [0.12]
        found.pss[peer] = [20_000_000]
        found.versions[peer] = {"uvloop": "0.23.0"}
    found.fail("robyn", "", "not installed: run it\nwith details")
    return found


def test_cpu_is_the_tree_s_time_over_answered_requests():
    load = Load(requests=100_000, seconds=2.0, errors=0, p50=1.0, p99=2.0)

    found = sample_of(load, cpu=1.0, elapsed=2.0)

    assert found.cpu == pytest.approx(10.0)
    assert found.busy == pytest.approx(0.5)


def test_the_middle_round_counts():
    assert medians(results())["fastlane"]["hello"] == 6.0


def test_a_failure_in_one_scenario_does_not_stand_for_all():
    found = results()
    found.fail("bun", "schema", "500")

    assert found.has_failed("bun", "schema")
    assert not found.has_failed("bun", "hello")
    assert found.has_failed("robyn", "schema")


def test_the_page_has_peers_by_cost_bars_versions_and_what_is_missing():
    page = markdown(results(), Plan(), {"import": 1.2}, "wrk 4.1.0", "2026-11-24")

    assert page.index("floor: uvloop") < page.index("**fastlane**")
    assert "| hello: fastlane / floor ≤ 1.65 (bar) | 1.20 | pass |" in page
    assert "uvloop 0.23.0" in page
    assert "- robyn: not installed: run it\n" in page
    assert "200,000*" in page, "the load generator was the limit"


def test_the_chart_is_xml_with_the_shortest_bar_on_top():
    document = draw([("hello <µs>", {"slow & old": 20.0, "fastlane": 5.0}), ("empty", {})], "AMD's machine")

    texts = [element.text for element in ElementTree.fromstring(document).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["hello <µs>", "fastlane", "5.0", "slow & old", "20.0", "AMD's machine"]


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([("hello", {})], "caption")
