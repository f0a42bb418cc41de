"""``make bench-sql``: fastlane and its peers with a PostgreSQL behind them, side by side. At most five minutes.

python -m bench.sql
python -m bench.sql --quick                          one short round
python -m bench.sql --only fastlane,fastify-pg --scenario one --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.install import REQUIREMENTS, ensure_node, ensure_venv
from bench.load import GENERATORS
from bench.measure import Plan, measure
from bench.page import put_section
from bench.peers import BUILD, ROOT
from bench.report import machine, medians
from bench.run import split_cores, tool_version
from bench.sql_micro import SEVEN_SCHEMA, typed_rows
from bench.sql_peers import sql_peers
from bench.sql_report import judged, sql_section
from bench.sql_scenarios import SCHEMA, SQL_SCENARIOS
from tests.servers.postgres import Postgres

__all__ = ["main"]


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sql", description="with a database, side by side")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s")
    parser.add_argument("--only", metavar="PEER,…", help="some peers")
    parser.add_argument("--scenario", metavar="NAME,…", help=f"of {', '.join(each.name for each in SQL_SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--seconds", type=int, default=None, help="of one measurement, whole ones; default 2")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections; default 64")
    parser.add_argument("--no-install", action="store_true", help="measure only what is installed already")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="directory for RESULTS.md and results/")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    server_cores, load_cores = split_cores(sorted(os.sched_getaffinity(0)))
    return Plan(
        rounds=options.rounds or (1 if options.quick else 3),
        seconds=options.seconds or (1 if options.quick else 2),
        connections=options.connections,
        server_cores=server_cores,
        load_cores=load_cores,
    )


def chosen(names: str | None, known: Sequence[str]) -> list[str]:
    """Raises KeyError with the names there are."""
    wanted = list(known) if names is None else names.split(",")
    for name in wanted:
        if name not in known:
            raise KeyError(f"there is no {name!r}; there are {', '.join(known)}")
    return wanted


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if shutil.which("wrk") is None:
        print(f"wrk is missing: {GENERATORS['wrk'][2]}", file=sys.stderr)
        return 2
    peers = sql_peers("", BUILD / "bench")
    try:
        peer_names = chosen(options.only, [peer.name for peer in peers])
        scenario_names = chosen(options.scenario, [scenario.name for scenario in SQL_SCENARIOS])
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if not options.no_install:
        for part, problem in (
            ("FastAPI", ensure_venv("bench-venv-sql", REQUIREMENTS / "sql.txt", (3, 11))),
            ("Fastify", ensure_node()),
        ):
            if problem is not None:
                print(f"not installed: {part}: {problem}")
    plan = plan_of(options)
    # PostgreSQL and this process stay on the load generator's core: the server has its own.
    os.sched_setaffinity(0, plan.load_cores)
    with Postgres() as postgres:
        postgres.sql("CREATE DATABASE blog")
        postgres.sql(SCHEMA, "blog")
        postgres.sql(SEVEN_SCHEMA, "blog")
        url = postgres.url("blog")
        version = f"PostgreSQL {postgres.sql('SHOW server_version').split()[0]}"
        peers = [peer for peer in sql_peers(url, BUILD / "bench") if peer.name in peer_names]
        scenarios = [scenario for scenario in SQL_SCENARIOS if scenario.name in scenario_names]
        results = measure(peers, scenarios, plan, lambda line: print(line, flush=True))
        os.sched_setaffinity(0, plan.server_cores)
        figures = typed_rows(url, 6 if options.quick else 16)
        os.sched_setaffinity(0, plan.load_cores | plan.server_cores)
    date = time.strftime("%Y-%m-%d")
    load = tool_version("wrk")
    bars = judged(results, figures)
    document = {
        "date": date,
        "machine": machine(),
        "load": load,
        "postgres": version,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "connections": plan.connections},
        "median_cpu_us": medians(results),
        "figures": figures,
        "bars": [{"bar": bar.text, "kind": bar.kind, "found": bar.value, "verdict": bar.verdict} for bar in bars],
        "results": results.as_json(),
    }
    directory = options.output / "results"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sql.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    section = sql_section(results, peers, scenarios, plan, figures, load=load, postgres=version, date=date)
    put_section(options.output / "RESULTS.md", "sql", section)
    for bar in bars:
        found = "" if bar.value is None else f"{bar.value:6.2f}"
        print(f"{bar.verdict:<12} {found:>6}  {bar.text} ({bar.kind})")
    print(f"\nwritten: {options.output / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
