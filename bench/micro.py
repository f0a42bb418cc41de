"""The compiled path alone, without a network: nanoseconds per call, so that a regression shows on a busy machine too.

python -m bench.micro
python -m bench.micro --save .build/micro.json          before a change
python -m bench.micro --compare .build/micro.json       after it: exits with 1 where a case has become slower
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scenarios import BROWSER_HEADERS, SCENARIOS, Scenario, scenario_named

if TYPE_CHECKING:
    from fastlane.server.head import LaneHead
    from fastlane.server.protocol import LaneProtocol

__all__ = ["Case", "Timing", "compare", "main", "raw_request", "time_case"]

REPEATS = 15
TOLERANCE = 1.15


@dataclass(frozen=True)
class Case:
    """A statement and the names it uses.

    Attributes:
        calls: how many calls of the thing that is timed one run of the statement makes.
    """

    name: str
    statement: str
    names: dict[str, Any]
    calls: int = 1


@dataclass(frozen=True)
class Timing:
    """Nanoseconds per call. The least says what the code costs, the median what the machine was like."""

    least: float
    median: float


def time_case(case: Case, repeats: int = REPEATS, batch_seconds: float = 0.05) -> Timing:
    timer = timeit.Timer(case.statement, globals=case.names)
    number, taken = timer.autorange()
    number = max(1, round(number * batch_seconds / taken))
    seconds = [run / number / case.calls for run in timer.repeat(repeats, number)]
    return Timing(min(seconds) * 1e9, statistics.median(seconds) * 1e9)


def compare(found: Mapping[str, Timing], saved: Mapping[str, float], tolerance: float) -> list[str]:
    """A line for each case whose least time has grown by more than ``tolerance`` (1.15: by 15 %)."""
    return [
        f"{name}: {saved[name]:.0f} → {timing.least:.0f} ns ({timing.least / saved[name]:.2f} ×)"
        for name, timing in found.items()
        if name in saved and timing.least > saved[name] * tolerance
    ]


def raw_request(scenario: Scenario, extra: Mapping[str, str] | None = None) -> bytes:
    """The scenario's request as a load generator writes it."""
    lines = [f"{scenario.method} {scenario.target} HTTP/1.1", "Host: 127.0.0.1:8000"]
    headers = {**scenario.headers, **(extra or {})}
    if scenario.body is not None:
        headers["Content-Length"] = str(len(scenario.body))
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (scenario.body or b"")


class SilentTransport(asyncio.Transport):
    """Takes what is written and keeps the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytes(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def pause_reading(self) -> None:
        raise RuntimeError("the lane paused reading: requests wait for each other")

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def close(self) -> None:
        raise RuntimeError(f"the lane closed the connection after {self.written!r}")

    abort = close


def read(scenario: Scenario) -> LaneHead:
    from fastlane.server.head import read_head
    from fastlane.server.limits import Limits

    raw = raw_request(scenario)
    return read_head(raw[: len(raw) - len(scenario.body or b"")], Limits())


def part_cases() -> list[Case]:
    """What a request is put together from, each alone."""
    import msgspec

    from bench.apps.fastlane_app import app
    from bench.apps.structs import ITEMS, Greeting, Order
    from fastlane.http.query import parse_query
    from fastlane.server.head import read_head
    from fastlane.server.limits import Limits

    order = scenario_named("schema").body
    browser = raw_request(scenario_named("browser"))
    encode = msgspec.json.Encoder().encode
    return [
        Case("encode hello", "encode(value)", {"encode": encode, "value": Greeting("Hello, world!")}),
        Case("encode 100 objects", "encode(value)", {"encode": encode, "value": ITEMS}),
        Case("decode order", "decode(body)", {"decode": msgspec.json.Decoder(Order).decode, "body": order}),
        Case("query of 2", "parse(raw)", {"parse": parse_query, "raw": b"priority=2&dry_run=true"}),
        Case("match exact", "exact.get(key)", {"exact": app.table.exact, "key": b"GET /hello"}),
        Case("match dynamic", "match('GET', path)", {"match": app.table.match, "path": b"/items/42"}),
        Case("head, browser", "read(raw, limits)", {"read": read_head, "raw": browser, "limits": Limits()}),
    ]


def call_cases() -> list[Case]:
    """``endpoint.call`` of each route that needs no loop: bind, handler, encode."""
    from bench.apps.fastlane_app import app
    from fastlane.http.request import Request

    cases = []
    for scenario in SCENARIOS:
        head = read(scenario)
        match = app.table.match(head.method, head.raw_path)
        endpoint = match.endpoint
        if endpoint.suspends or scenario.name in {"browser", "varied"}:
            continue
        connection: Any = None
        request = Request(head, match.values, scenario.body or b"", connection, endpoint, None)
        answer: Any = endpoint.call(request)
        if json.loads(answer) != scenario.answer:
            raise RuntimeError(f"{scenario.name}: {answer!r}")
        names = {"call": endpoint.call, "request": request if endpoint.needs_request else None}
        cases.append(Case(f"call {scenario.name}", "call(request)", names))
    return cases


def connect(app: object, loop: asyncio.AbstractEventLoop) -> tuple[LaneProtocol, SilentTransport]:
    """A lane connection that talks to nobody."""
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from fastlane.server.protocol import LaneProtocol

    config = Config(app, http=LaneProtocol, log_config=None, access_log=False, lifespan="off")  # type: ignore[arg-type]
    config.load()
    protocol = LaneProtocol(config, ServerState(), {}, loop)
    transport = SilentTransport()
    protocol.connection_made(transport)
    return protocol, transport


def lane_cases(loop: asyncio.AbstractEventLoop) -> list[Case]:
    """``data_received`` to ``write``: the whole lane but the loop and the system calls."""
    from bench.apps.fastlane_app import app

    cases = []
    for name in ("hello", "schema", "browser", "find", "objects", "dependency"):
        scenario = scenario_named(name)
        receive = checked_lane(app, loop, scenario, raw_request(scenario))
        cases.append(Case(f"lane {name}", "receive(data)", {"receive": receive, "data": raw_request(scenario)}))
    for name, headers in (("hello", {}), ("browser", BROWSER_HEADERS)):
        scenario = scenario_named(name)
        one, other = (raw_request(scenario, {**headers, "X-Request-Id": value}) for value in ("1", "2"))
        receive = checked_lane(app, loop, scenario, one)
        names = {"receive": receive, "one": one, "other": other}
        cases.append(Case(f"lane {name}, heads differ", "receive(one); receive(other)", names, calls=2))
    return cases


def checked_lane(app: object, loop: asyncio.AbstractEventLoop, scenario: Scenario, data: bytes) -> Any:
    """``data_received`` of a new connection, after it has given the right answer."""
    protocol, transport = connect(app, loop)
    protocol.data_received(data)
    head, _, body = transport.written.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or json.loads(body) != scenario.answer:
        raise RuntimeError(f"{scenario.name}: {transport.written!r}")
    return protocol.data_received


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro", description="nanoseconds per call, without a network"
    )
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"default {REPEATS}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the least times")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="exit with 1 where a case is slower than there")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help=f"for --compare; default {TOLERANCE}")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    loop = new_loop()
    found: dict[str, Timing] = {}
    print(f"{'ns per call':<28} {'min':>9} {'median':>9}")
    for case in [*part_cases(), *call_cases(), *lane_cases(loop)]:
        if options.only in case.name:
            found[case.name] = timing = time_case(case, options.repeats)
            print(f"{case.name:<28} {timing.least:9.0f} {timing.median:9.0f}", flush=True)
    loop.close()
    if options.save:
        options.save.write_text(json.dumps({name: timing.least for name, timing in found.items()}, indent=1) + "\n")
    if options.compare:
        slower = compare(found, json.loads(options.compare.read_text()), options.tolerance)
        for line in slower:
            print(f"slower: {line}")
        return 1 if slower else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
