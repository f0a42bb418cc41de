"""Rows of a table of wire cases: a name, the bytes, and every outcome that the RFCs allow.

Where they leave a choice, a row accepts several outcomes; none of them ever lets the application see a request that the
bytes don't hold, and a connection never outlives a framing error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .applications import Journal
from .exchange import Outcome, exchange

__all__ = ["DELIVERIES", "Case", "Wanted", "either", "play", "refused", "served", "spoiled", "verdict"]

DELIVERIES = ("whole", "byte by byte", "behind another")
"""In one segment; each byte in a segment of its own (large ones in pieces of 1,021); in a segment after a good one."""

BEFORE = b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An outcome that is right.

    Attributes:
        statuses: of each final answer, in order, the ones that are accepted.
        kept: whether the connection lives on; None when either will do.
        saw: what the application read whole, as ``METHOD target body`` rows.
        spoiled: the application may also have begun with a request whose body then broke.
    """

    statuses: tuple[frozenset[int], ...]
    kept: bool | None
    saw: tuple[bytes, ...] = ()
    spoiled: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sent: bytes
    wanted: tuple[Wanted, ...]
    heads: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def served(name: str, sent: bytes, *saw: bytes, kept: bool | None = True, heads: Sequence[int] = ()) -> Case:
    """The application sees exactly these requests, and each is answered with 200."""
    return Case(name, sent, (Wanted((frozenset({200}),) * len(saw), kept, saw),), frozenset(heads))


def refused(name: str, sent: bytes, *statuses: int, after: Sequence[bytes] = (), heads: Sequence[int] = ()) -> Case:
    """The last request is answered with one of these statuses (400 when none is named) and never reaches the
    application; the connection is closed. The ones before it (``after``) are served."""
    wanted = Wanted((frozenset({200}),) * len(after) + (frozenset(statuses or {400}),), False, tuple(after))
    return Case(name, sent, (wanted,), frozenset(heads))


def spoiled(name: str, sent: bytes, *statuses: int, after: Sequence[bytes] = ()) -> Case:
    """As ``refused``, for a body that breaks on its way: the application may have begun, and never saw it whole."""
    case = refused(name, sent, *statuses, after=after)
    return replace(case, wanted=(replace(case.wanted[0], spoiled=True),))


def either(name: str, sent: bytes, *cases: Case) -> Case:
    """Any of the outcomes of these rows; their own names and bytes are not looked at."""
    heads = frozenset[int]().union(*(case.heads for case in cases))
    return Case(name, sent, tuple(wanted for case in cases for wanted in case.wanted), heads)


def behind(case: Case) -> Case:
    wanted = tuple(
        replace(one, statuses=(frozenset({200}), *one.statuses), saw=(b"GET /before", *one.saw)) for one in case.wanted
    )
    return Case(case.name, BEFORE + case.sent, wanted, frozenset(index + 1 for index in case.heads))


def pieces(case: Case, delivery: str) -> list[bytes]:
    if delivery != "byte by byte":
        return [case.sent]
    step = 1 if len(case.sent) < 1500 else 1021
    return [case.sent[index : index + step] for index in range(0, len(case.sent), step)]


async def play(address: tuple[str, int], journal: Journal, cases: Sequence[Case], delivery: str) -> list[Outcome]:
    """Every case on a connection of its own, some at a time."""
    places = asyncio.Semaphore(24)

    async def one(case: Case) -> Outcome:
        expected = max(len(wanted.statuses) for wanted in case.wanted)
        async with places:
            return await exchange(address, journal, pieces(case, delivery), expected, heads=case.heads)

    if delivery == "behind another":
        cases = [behind(case) for case in cases]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return [task.result() for task in tasks]


def verdict(case: Case, delivery: str, outcome: Outcome) -> str | None:
    """None when the outcome is one of the wanted, else what is wrong with it."""
    if delivery == "behind another":
        case = behind(case)
    if outcome.fault:
        return f"{outcome}\n  wanted {case.wanted}"
    if outcome.rest:
        return f"bytes that are no whole response: {outcome}"
    finals = outcome.finals
    for index, answer in enumerate(finals):
        last = index == len(finals) - 1
        if answer.closes and (outcome.kept or not last):
            return f"an answer said close, and the connection went on: {outcome}"
        if last and not answer.closes and not outcome.kept:
            return f"closed without saying so in the last answer: {outcome}"
    whole = [seen for seen in outcome.seen if seen.body is not None]
    answered = [answer for answer in finals if answer.status == 200]
    if len(answered) == len(whole):
        for index, (answer, seen) in enumerate(zip(answered, whole, strict=True)):
            expected = (
                b"" if index in case.heads else b"%b %b\n%b" % (seen.method.encode(), seen.target, seen.body or b"")
            )
            if answer.body != expected:
                return f"answer {index} is not for request {index}: {outcome}"
    reasons = [mismatch(wanted, outcome) for wanted in case.wanted]
    if None in reasons:
        return None
    return f"{outcome}\n  " + "\n  ".join(f"not as wanted: {reason}" for reason in reasons)


def mismatch(wanted: Wanted, outcome: Outcome) -> str | None:
    statuses = [answer.status for answer in outcome.finals]
    if len(statuses) != len(wanted.statuses) or any(
        status not in accepted for status, accepted in zip(statuses, wanted.statuses, strict=True)
    ):
        return f"statuses {[sorted(accepted) for accepted in wanted.statuses]}"
    if wanted.kept is not None and wanted.kept != outcome.kept:
        return f"connection {'kept' if wanted.kept else 'closed'}"
    whole = tuple(seen.row() for seen in outcome.seen if seen.body is not None)
    if whole != wanted.saw:
        return f"the application to see {list(wanted.saw)}"
    begun = [seen for seen in outcome.seen if seen.body is None]
    if len(begun) > wanted.spoiled:
        return "no other request to be begun"
    return None
