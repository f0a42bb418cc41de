"""The run as Markdown: medians, ratios, bars, machine and versions."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.bars import Judged, judge, judge_figures
from bench.measure import Plan, Results, Sample
from bench.peers import PEERS
from bench.scenarios import SCENARIOS

__all__ = ["machine", "markdown", "medians"]


EXPLANATION = (
    "CPU µs per request is user and system time of the server's whole process tree over the answered requests: "
    "the figure to compare, since it does not depend on who waits for whom."
)


def medians(results: Results, attribute: str = "cpu") -> dict[str, dict[str, float]]:
    """The median of one attribute of the samples, by peer and scenario."""
    return {
        peer: {scenario: median_of(samples, attribute) for scenario, samples in by_scenario.items()}
        for peer, by_scenario in results.samples.items()
    }


def median_of(samples: Sequence[Sample], attribute: str) -> float:
    values: list[float] = [getattr(sample, attribute) for sample in samples]
    return statistics.median(values)


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def titles_by_cost(cpu: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Name and title of the measured peers, the cheapest first."""
    measured = [(peer.name, peer.title) for peer in PEERS if peer.name in cpu]
    return sorted(measured, key=lambda peer: min(cpu[peer[0]].get("hello", 1e9), 1e9))


def cpu_table(cpu: Mapping[str, Mapping[str, float]]) -> list[str]:
    scenarios = [scenario for scenario in SCENARIOS if any(scenario.name in found for found in cpu.values())]
    rows = [
        [emphasised(name, title), *(number(cpu[name].get(scenario.name)) for scenario in scenarios)]
        for name, title in titles_by_cost(cpu)
    ]
    return table(["CPU µs per request", *(scenario.title for scenario in scenarios)], rows)


def emphasised(name: str, title: str) -> str:
    return f"**{title}**" if name == "fastlane" else title


def speed_table(results: Results) -> list[str]:
    cpu = medians(results)
    rate, p50, p99 = (medians(results, attribute) for attribute in ("per_second", "p50", "p99"))
    busy = medians(results, "busy")
    rows = []
    for name, title in titles_by_cost(cpu):
        cells = [emphasised(name, title)]
        for scenario in ("hello", "schema"):
            mark = "*" if busy[name].get(scenario, 1) < 0.9 else ""
            cells.append(f"{number(rate[name].get(scenario), 0)}{mark}")
            cells.append(f"{number(p50[name].get(scenario), 2)} / {number(p99[name].get(scenario), 2)}")
        cells.append(number(statistics.median(results.pss[name]) / 1e6) if results.pss.get(name) else "–")
        cells.append(number(statistics.median(results.cold_start[name]) * 1e3, 0))
        rows.append(cells)
    head = ["", "hello /s", "p50 / p99 ms", "schema /s", "p50 / p99 ms", "PSS MB", "cold start ms"]
    return table(head, rows)


def bars_table(judged: Sequence[Judged]) -> list[str]:
    rows = [[f"{bar.text} ({bar.kind})", number(bar.value, 2), bar.verdict] for bar in judged]
    return table(["bar", "found", ""], rows)


def versions_list(results: Results) -> list[str]:
    titles = {peer.name: peer.title for peer in PEERS}
    return [
        f"- {titles[peer]}: {', '.join(f'{name} {version}' for name, version in versions.items())}"
        for peer, versions in results.versions.items()
    ]


def failures_list(results: Results) -> list[str]:
    lines = []
    for peer, reasons in results.failed.items():
        for scenario, reason in reasons.items():
            where = f" in {scenario}" if scenario else ""
            lines.append(f"- {peer}{where}: {reason.splitlines()[0]}")
    return lines


def markdown(results: Results, plan: Plan, figures: Mapping[str, float], load_version: str, date: str) -> str:
    """The whole page."""
    cpu = medians(results)
    facts = machine()
    introduction = (
        f"Measured on {date} by `make bench`: {facts['cpu']}, {facts['memory']}, {facts['kernel']}. One worker, "
        f"pinned to one core; the load generator ({load_version}) on another; {plan.connections} keep-alive "
        f"connections; medians of {plan.rounds} interleaved rounds of {plan.seconds:g} s after {plan.warm_up:g} s of "
        "warm-up. Every peer gave the right answers, and refused what breaks a constraint, before it was measured."
    )
    lines = [
        "# Side by side",
        "",
        introduction,
        "",
        EXPLANATION,
        "",
        "![CPU per request](results/chart.svg)",
        "",
        *cpu_table(cpu),
        "",
        *speed_table(results),
        "",
        "\\* the server's core was less than 90 % busy: the load generator was the limit of requests/s.",
        "",
        "## Bars",
        "",
        *bars_table([*judge(cpu), *judge_figures(figures)]),
        "",
        "## Versions",
        "",
        *versions_list(results),
    ]
    failures = failures_list(results)
    if failures:
        lines += ["", "## Not measured", "", *failures]
    return "\n".join(lines) + "\n"
