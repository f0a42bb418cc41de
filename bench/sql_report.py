"""The benchmark of databases as a section of the page, and its bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.bars import Bar, Judged, Rule, judge, judge_figures
from bench.measure import Plan, Results
from bench.peers import Peer
from bench.report import bars_table, machine, medians, number, table
from bench.scenarios import Scenario

__all__ = ["SQL_BARS", "SQL_RULES", "judged", "sql_section"]

SQL_RULES: tuple[Rule, ...] = (
    Rule("one", "fastlane", "fastify-pg", 0.8),
    Rule("one", "fastapi-asyncpg", "fastlane", 4, least=True),
    Rule("concurrent", "fastlane", "fastify-pg", 0.8, kind="aim"),
    Rule("concurrent", "fastapi-asyncpg", "fastlane", 4, least=True, kind="aim"),
)

SQL_BARS: tuple[Bar, ...] = (
    Bar("typed_seven", "100 typed rows of seven columns / asyncpg's Records, not encoded ≤ 1.15", 1.15),
    Bar("typed_plain", "100 typed rows of two integers and two texts / the same ≤ 1.15", 1.15, kind="aim"),
)

BY_HAND = ("`[Post(*row) for row in await …]` of a connection of asyncpg", "of its pool")


def judged(results: Results, figures: Mapping[str, float]) -> list[Judged]:
    """Every bar, with what was found."""
    return [*judge(medians(results), SQL_RULES), *judge_figures(figures, SQL_BARS)]


def rows_of(
    found: Mapping[str, Mapping[str, float]], peers: Sequence[Peer], scenarios: Sequence[Scenario], digits: int
) -> list[list[str]]:
    return [
        [
            f"**{peer.title}**" if peer.name == "fastlane" else peer.title,
            *(number(found[peer.name].get(scenario.name), digits) for scenario in scenarios),
        ]
        for peer in peers
        if peer.name in found
    ]


def sql_section(
    results: Results,
    peers: Sequence[Peer],
    scenarios: Sequence[Scenario],
    plan: Plan,
    figures: Mapping[str, float],
    *,
    load: str,
    postgres: str,
    date: str,
) -> str:
    """
    Args:
        load, postgres: versions.
    """
    facts = machine()
    titles = [scenario.title for scenario in scenarios]
    cpu = medians(results)
    by_cost = sorted(peers, key=lambda peer: cpu.get(peer.name, {}).get("one", 0.0))
    introduction = (
        f"Measured on {date} by `make bench-sql`: {facts['cpu']}, {facts['memory']}, {facts['kernel']}. One worker, "
        f"pinned to one core; {postgres} on a unix socket and the load generator ({load}) on another; "
        f"{plan.connections} keep-alive connections unless the column says otherwise, ten connections to the database; "
        f"medians of {plan.rounds} interleaved rounds of {plan.seconds:g} s. The same table and the same prepared "
        "statements for everybody. A row has four columns, 200 bytes of text. CPU is the server's own, without "
        "PostgreSQL's."
    )
    lines = [
        "# With a database",
        "",
        introduction,
        "",
        *table(["CPU µs per request", *titles], rows_of(cpu, by_cost, scenarios, 1)),
        "",
        *table(["requests/s", *titles], rows_of(medians(results, "per_second"), by_cost, scenarios, 0)),
        "",
        "PostgreSQL and the load generator share a core, which is what limits requests/s of the cheap ones.",
        "",
    ]
    if figures:
        rows = [
            [title, *(number(figures[f"{key}_{way}_us"]) for way in ("typed", "by_hand", "pooled", "records"))]
            for key, title in (("seven", "seven columns"), ("plain", "two integers and two texts"))
        ]
        head = ["100 rows, CPU µs, without HTTP", "`fetch_all(Post)`", *BY_HAND, "Records, not looked into"]
        lines += [*table(head, rows), ""]
    lines += ["## Bars of databases", "", *bars_table(judged(results, figures)), ""]
    lines += ["## Versions of databases", "", f"- {postgres}"]
    known = {peer.name: peer.title for peer in peers}
    for name, versions in results.versions.items():
        lines.append(f"- {known[name]}: {', '.join(f'{each} {version}' for each, version in versions.items())}")
    for name, reasons in results.failed.items():
        for scenario_name, reason in reasons.items():
            lines.append(f"- not measured: {name} {scenario_name}: {reason.splitlines()[0]}")
    return "\n".join(lines) + "\n"
