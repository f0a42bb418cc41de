"""The bars of the issue, judged by the medians of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["BARS", "Bar", "Judged", "Rule", "judge", "judge_figures"]


@dataclass(frozen=True)
class Rule:
    """A bar on the ratio of two peers' CPU time per request in one scenario.

    Attributes:
        limit: the ratio ``over`` / ``under`` is at most this, or for ``least`` at least this.
        kind: a bar has to hold; an aim is what is hoped for.
    """

    scenario: str
    over: str
    under: str
    limit: float
    least: bool = False
    kind: Literal["bar", "aim"] = "bar"

    @property
    def text(self) -> str:
        sign = "≥" if self.least else "≤"
        return f"{self.scenario}: {self.over} / {self.under} {sign} {self.limit:g}"


@dataclass(frozen=True)
class Bar:
    """A bar on a figure that is no ratio of two peers: it is at most ``limit``, or for ``least`` at least that."""

    key: str
    text: str
    limit: float
    least: bool = False
    kind: Literal["bar", "aim"] = "bar"

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True)
class Judged:
    """A bar with what was found; ``passed`` is None where it was not measured."""

    text: str
    kind: str
    value: float | None
    passed: bool | None

    @property
    def verdict(self) -> str:
        if self.passed is None:
            return "not measured"
        return "pass" if self.passed else ("FAIL" if self.kind == "bar" else "not yet")


RULES: tuple[Rule, ...] = (
    Rule("hello", "fastlane", "floor", 1.65),
    Rule("hello", "fastlane", "fastify", 0.5),
    Rule("hello", "fastapi", "fastlane", 9, least=True),
    Rule("schema", "fastlane", "floor", 2.45),
    Rule("schema", "fastlane", "bun", 0.95),
    Rule("schema", "fastlane", "fastify", 0.5),
    Rule("schema", "fastapi", "fastlane", 13, least=True),
    Rule("browser", "fastlane", "floor", 1.9),
    Rule("hello", "fastlane", "floor", 1.25, kind="aim"),
    Rule("hello", "fastlane", "bun", 1.0, kind="aim"),
    Rule("schema", "fastlane", "bun", 0.7, kind="aim"),
)

BARS: tuple[Bar, ...] = (
    Bar("share_150", "2 workers, 150 keep-alive connections: share of the busiest ≤ 60 %", 0.6),
    Bar("share_150_cold", "2 workers, 150 connections from the first 200 on ≤ 60 %", 0.6, kind="aim"),
    Bar("share_1000", "2 workers, 1,000 keep-alive connections: share of the busiest ≤ 60 %", 0.6),
    Bar("extra_worker", "PSS of one more worker ≤ 10 MB", 10.0),
    Bar("import", "`import fastlane` / import of asyncio and msgspec ≤ 1.4", 1.4),
    Bar("import_app", "`from fastlane import App` / the same ≤ 1.4", 1.4, kind="aim"),
    Bar("cold_start", "`fastlane serve` to first 200 / bare ASGI on uvicorn ≤ 1.6", 1.6),
)


def judge(cpu: Mapping[str, Mapping[str, float]], rules: Sequence[Rule] = RULES) -> list[Judged]:
    """
    Args:
        cpu: median microseconds per request by peer and scenario.
        rules: of which benchmark.
    """
    judged = []
    for rule in rules:
        over = cpu.get(rule.over, {}).get(rule.scenario)
        under = cpu.get(rule.under, {}).get(rule.scenario)
        if over is None or under is None:
            judged.append(Judged(rule.text, rule.kind, None, None))
            continue
        ratio = over / under
        passed = ratio >= rule.limit if rule.least else ratio <= rule.limit
        judged.append(Judged(rule.text, rule.kind, ratio, passed))
    return judged


def judge_figures(figures: Mapping[str, float], bars: Sequence[Bar] = BARS) -> list[Judged]:
    """
    Args:
        figures: found values by the keys of ``bars``.
    """
    judged = []
    for bar in bars:
        value = figures.get(bar.key)
        judged.append(Judged(bar.text, bar.kind, value, None if value is None else bar.holds(value)))
    return judged
