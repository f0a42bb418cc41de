"""``make bench-pubsub``: each broker through fastlane, beside the bare client library. At most five minutes.

python -m bench.pubsub
python -m bench.pubsub --quick                       one short round
python -m bench.pubsub --only local,nsq --rounds 3
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import json, structs

from bench.page import put_section
from bench.peers import BUILD, ROOT
from bench.pubsub_brokers import BROKERS, Broker, Running
from bench.pubsub_report import Found, Measured, figures_of, judged, pubsub_section
from bench.pubsub_work import Effort
from bench.report import machine
from bench.run import split_cores

__all__ = ["main"]

BUDGET = 280.0
"""Seconds after which no round begins that would not end in time."""
CHILD = 90.0
"""Seconds that one side may take."""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    kinds = ", ".join(broker.kind for broker in BROKERS)
    parser = argparse.ArgumentParser(prog="python -m bench.pubsub", description="brokers, beside their bare clients")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", metavar="KIND,…", help=f"of {kinds}")
    parser.add_argument("--rounds", type=int, default=3, help="default 3, or as many as there is time for")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="directory for RESULTS.md and results/")
    return parser.parse_args(arguments)


def effort_of(quick: bool) -> Effort:
    return Effort(seconds=0.4, most=4_000, patience=10.0, latency=0.5) if quick else Effort()


def run_side(side: str, name: str, where: str, effort: Effort, cores: frozenset[int]) -> Measured:
    """
    Raises:
        RuntimeError: it failed, or took too long; with the end of what it said.
    """
    command = [sys.executable, "-m", "bench.pubsub_child", side, name, where, json.encode(effort).decode()]
    # Google's bare client asks for a token unless an emulator is named here; fastlane's configuration says it.
    environment = {**os.environ, "PUBSUB_EMULATOR_HOST": where.partition("//")[2]} if side == "gcloud-aio" else None
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHILD,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"not done within {CHILD:.0f} s: {str(error.stderr or '')[-500:]}") from None
    for line in done.stdout.splitlines():
        if line.startswith("@result "):
            return json.decode(line.removeprefix("@result "), type=dict[str, dict[str, float]])
    raise RuntimeError(f"ended with {done.returncode}: {done.stderr[-1500:]}")


def said(measured: Measured) -> str:
    parts = []
    for part, values in measured.items():
        if "per_second" in values:
            parts.append(f"{part} {values['per_second']:,.0f}/s {values['cpu_us']:.1f} µs")
        elif "p50_ms" in values:
            parts.append(f"p50 {values['p50_ms']:.2f} p99 {values['p99_ms']:.2f} ms")
    return "; ".join(parts)


def one_round(number: int, brokers: Sequence[tuple[Broker, Running, Path]], effort: Effort, found: Found) -> None:
    """Every broker, every side, in an order that turns around each round. Round 0 is not spoken of."""
    broker_cores, own_cores = reversed(split_cores(range(os.cpu_count() or 1)))
    for broker, running, config in brokers:
        cores = broker_cores | own_cores if broker.alone else own_cores
        sides = ["fastlane", *broker.bare]
        for side in sides if number % 2 else reversed(sides):
            what = f"{broker.kind} {side}"
            if what in found.failed:
                continue
            where = str(config) if side == "fastlane" else running.address
            try:
                bearable = structs.replace(effort, most=min(effort.most, broker.most))
                measured = run_side(side, f"{side[:8]}{number}", where, bearable, cores)
            except RuntimeError as error:
                found.failed[what] = str(error)
                print(f"round {number} {what}: {error}", flush=True)
                continue
            found.add(broker.kind, side, measured)
            if number:
                print(f"round {number} {what:<20} {said(measured)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    kinds = [broker.kind for broker in BROKERS]
    wanted = kinds if options.only is None else options.only.split(",")
    unknown = [kind for kind in wanted if kind not in kinds]
    if unknown:
        print(f"there is no broker {unknown[0]!r}; there are {', '.join(kinds)}", file=sys.stderr)
        return 2
    started, rounds = time.monotonic(), 0
    effort, found = effort_of(options.quick), Found()
    all_cores = os.sched_getaffinity(0)
    _, broker_cores = split_cores(sorted(all_cores))
    # Brokers and this process stay on one core, the measured process has the other.
    os.sched_setaffinity(0, broker_cores)
    BUILD.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Beside the checkout, on its disk: /tmp may be memory.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pubsub-", dir=BUILD)))
        os.environ["FASTLANE_STATE"] = str(directory / "state")
        brokers: list[tuple[Broker, Running, Path]] = []
        for broker in BROKERS:
            if broker.kind not in wanted:
                continue
            try:
                running = stack.enter_context(broker.start(directory))
            except (pytest.skip.Exception, RuntimeError, OSError) as error:
                found.failed[broker.kind] = str(error)
                print(f"not measured: {broker.kind}: {error}")
                continue
            config = directory / f"{broker.kind}.toml"
            config.write_text(running.configuration)
            found.versions[broker.kind] = running.version
            brokers.append((broker, running, config))
        print("warming up", flush=True)
        for each in brokers:
            if not each[0].alone:
                seconds = each[0].warm_up
                one_round(0, [each], Effort(seconds=seconds, most=6_000, patience=5.0, latency=0.1), Found())
        while rounds < (1 if options.quick else options.rounds):
            elapsed = time.monotonic() - started
            if rounds and elapsed + elapsed / rounds > BUDGET:
                break
            rounds += 1
            one_round(rounds, brokers, effort, found)
    os.sched_setaffinity(0, all_cores)
    date, bars = time.strftime("%Y-%m-%d"), judged(found)
    document = {
        "date": date,
        "machine": machine(),
        "rounds": rounds,
        "figures": figures_of(found),
        "bars": [{"bar": bar.text, "kind": bar.kind, "found": bar.value, "verdict": bar.verdict} for bar in bars],
        "results": found.rounds,
        "versions": found.versions,
        "failed": found.failed,
    }
    directory = options.output / "results"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pubsub.json").write_bytes(json.format(json.encode(document), indent=1) + b"\n")
    put_section(options.output / "RESULTS.md", "pubsub", pubsub_section(found, bars, rounds, date))
    for bar in bars:
        value = "" if bar.value is None else f"{bar.value:10,.2f}"
        print(f"{bar.verdict:<12} {value:>10}  {bar.text} ({bar.kind})")
    print(f"\n{time.monotonic() - started:.0f} s; written: {options.output / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
