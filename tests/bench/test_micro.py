"""Timing without a network."""

from bench.micro import Case, Timing, compare, raw_request, time_case
from bench.scenarios import scenario_named


def test_calls_of_one_statement_share_its_time():
    names = {"work": lambda: sum(range(200))}

    one = time_case(Case("one", "work()", names), repeats=3, batch_seconds=0.001)
    many = time_case(Case("many", "for _ in range(100): work()", names, calls=100), repeats=3, batch_seconds=0.001)

    assert many.least < one.least * 10
    assert one.least <= one.median


def test_only_what_has_grown_beyond_the_tolerance_is_said():
    found = {"same": Timing(100, 110), "slower": Timing(130, 140), "new": Timing(500, 500)}

    assert compare(found, {"same": 95, "slower": 100, "gone": 1}, 1.15) == ["slower: 100 → 130 ns (1.30 ×)"]


def test_a_raw_request_is_whole():
    raw = raw_request(scenario_named("schema"), {"X-Request-Id": "1"})

    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /orders?priority=2&dry_run=true HTTP/1.1\r\nHost: ")
    assert b"X-Request-Id: 1" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == scenario_named("schema").body
