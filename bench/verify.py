"""Before a peer is measured: does it give the right answer, and refuse what breaks a constraint?"""

from __future__ import annotations

import http.client
import json

from bench.scenarios import Attempt, Scenario

__all__ = ["Reply", "judge_answer", "judge_refusal", "send", "verify"]


class Reply:
    """A status and a body, as they came."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200].decode(errors='replace')}"


def send(port: int, attempt: Attempt) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(attempt.method, attempt.target, attempt.body, attempt.headers)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    finally:
        connection.close()


def judge_answer(scenario: Scenario, reply: Reply) -> str | None:
    """What is wrong with the answer to the scenario's own request, or None."""
    if reply.status != scenario.status:
        return f"{scenario.request.reason}: expected {scenario.status}, got {reply}"
    try:
        value = json.loads(reply.body)
    except ValueError:
        return f"{scenario.request.reason}: the body is no JSON: {reply}"
    if scenario.changing and isinstance(value, dict):
        value = {name: found for name, found in value.items() if name not in scenario.changing}
    if value != scenario.answer:
        return f"{scenario.request.reason}: expected {scenario.answer_bytes[:200].decode()}, got {reply}"
    return None


def judge_refusal(attempt: Attempt, reply: Reply) -> str | None:
    """What is wrong with the answer to a request that has to be refused, or None."""
    return None if 400 <= reply.status < 500 else f"{attempt.reason}: expected a refusal, got {reply}"


def verify(scenario: Scenario, port: int, *, validates: bool) -> list[str]:
    """Everything that is wrong with a peer's answers in one scenario.

    Args:
        validates: False for the floor, which answers anything with the same bytes.
    """
    try:
        problems = [judge_answer(scenario, send(port, scenario.request))]
        if validates:
            problems += [judge_refusal(attempt, send(port, attempt)) for attempt in scenario.refused]
    except (OSError, http.client.HTTPException) as error:
        return [f"{type(error).__name__}: {error}"]
    return [problem for problem in problems if problem is not None]
