"""``make bench``: installs the peers, checks their answers, measures them side by side, writes ``bench/RESULTS.md``.

python -m bench.run                                all of it (about half an hour)
python -m bench.run --quick                        three scenarios, one short round
python -m bench.run --only fastlane,floor,bun --scenario hello,schema --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import startup, workers
from bench.bars import judge, judge_figures
from bench.chart import draw
from bench.install import install
from bench.load import GENERATORS
from bench.measure import Plan, Results, measure
from bench.page import put_section
from bench.peers import PEERS, ROOT, Peer, peer_named
from bench.report import machine, markdown, medians
from bench.scenarios import SCENARIOS, Scenario, scenario_named
from bench.server import ServerFailed

__all__ = ["main"]

OUTPUT = ROOT / "bench"
QUICK = ("hello", "schema", "browser")


def split_cores(cores: Sequence[int]) -> tuple[frozenset[int], frozenset[int]]:
    """One core for the server, another for the load; the same one where there is no other."""
    ordered = sorted(cores)
    return frozenset({ordered[-1]}), frozenset({ordered[0]})


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="fastlane and its peers, side by side")
    parser.add_argument("--quick", action="store_true", help=f"one round of 1 s of {', '.join(QUICK)}")
    parser.add_argument("--only", metavar="PEER,…", help=f"of {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--scenario", metavar="NAME,…", help=f"of {', '.join(item.name for item in SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--seconds", type=int, default=None, help="of one measurement, whole ones; default 3")
    parser.add_argument("--connections", type=int, default=150, help="keep-alive connections; default 150")
    parser.add_argument("--tool", choices=sorted(GENERATORS), default="wrk", help="load generator; default wrk")
    parser.add_argument("--no-install", action="store_true", help="measure only what is installed already")
    parser.add_argument("--no-startup", action="store_true", help="leave out start-up, memory and fair accept")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="directory for RESULTS.md and results/")
    return parser.parse_args(arguments)


def chosen_peers(names: str | None) -> list[Peer]:
    return list(PEERS) if names is None else [peer_named(name) for name in names.split(",")]


def chosen_scenarios(names: str | None, quick: bool) -> list[Scenario]:
    if names is not None:
        return [scenario_named(name) for name in names.split(",")]
    return [scenario_named(name) for name in QUICK] if quick else list(SCENARIOS)


def plan_of(options: argparse.Namespace) -> Plan:
    server_cores, load_cores = split_cores(sorted(os.sched_getaffinity(0)))
    return Plan(
        rounds=options.rounds or (1 if options.quick else 3),
        seconds=options.seconds or (1 if options.quick else 3),
        connections=options.connections,
        tool=options.tool,
        server_cores=server_cores,
        load_cores=load_cores,
    )


def tool_version(tool: str) -> str:
    """As the tool says it; wrk prints it on its first line and exits with 1."""
    finished = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    words = (finished.stdout + finished.stderr).split()
    return " ".join(words[:2])


def startup_figures() -> dict[str, float]:
    """The figures of the bars that are no ratio of CPU times. One that fails is said and left out."""
    figures: dict[str, float] = {}
    for part in (startup.figures, workers.figures):
        try:
            figures |= part(print)
        except (OSError, RuntimeError, ServerFailed, subprocess.SubprocessError) as error:
            print(f"not measured: {part.__module__}: {error}")
    return figures


def write(results: Results, plan: Plan, figures: dict[str, float], output: Path) -> None:
    """``results/latest.json``, ``results/chart.svg`` and ``RESULTS.md`` in ``output``."""
    date = time.strftime("%Y-%m-%d")
    load_version = tool_version(plan.tool)
    directory = output / "results"
    directory.mkdir(parents=True, exist_ok=True)
    cpu = medians(results)
    document = {
        "date": date,
        "machine": machine(),
        "load": load_version,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "connections": plan.connections},
        "median_cpu_us": cpu,
        "figures": figures,
        "results": results.as_json(),
    }
    (directory / "latest.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    titles = {peer.name: peer.title for peer in PEERS}
    panels = [
        (
            f"{scenario.title} — CPU µs per request, less is better",
            {titles[name]: found[scenario.name] for name, found in cpu.items() if scenario.name in found},
        )
        for scenario in SCENARIOS[:2]
    ]
    if any(values for _, values in panels):
        caption = f"{machine()['cpu']}, {machine()['kernel']}, Python {machine()['python']}, {date}"
        (directory / "chart.svg").write_text(draw(panels, caption))
    put_section(output / "RESULTS.md", "http", markdown(results, plan, figures, load_version, date))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        peers = chosen_peers(options.only)
        scenarios = chosen_scenarios(options.scenario, options.quick)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if shutil.which(options.tool) is None:
        print(f"{options.tool} is missing: {GENERATORS[options.tool][2]}", file=sys.stderr)
        return 2
    if not options.no_install:
        for part, problem in install().items():
            print(f"not installed: {part}: {problem}")
    plan = plan_of(options)
    # The harness shares the load generator's core, never the server's.
    os.sched_setaffinity(0, plan.load_cores)
    results = measure(peers, scenarios, plan, lambda line: print(line, flush=True))
    os.sched_setaffinity(0, plan.load_cores | plan.server_cores)
    figures = {} if options.no_startup or options.quick else startup_figures()
    write(results, plan, figures, options.output)
    print()
    for bar in [*judge(medians(results)), *judge_figures(figures)]:
        found = "" if bar.value is None else f"{bar.value:6.2f}"
        print(f"{bar.verdict:<12} {found:>6}  {bar.text} ({bar.kind})")
    print(f"\nwritten: {options.output / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
