"""What Google's answers mean. No text says anything of a credential."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused

__all__ = ["Answered", "Verdict", "as_publisher", "told"]

Verdict: TypeAlias = Literal["unavailable", "forbidden", "missing", "exists", "refused"]

_STATUSES: dict[int, Verdict] = {401: "forbidden", 403: "forbidden", 404: "missing", 409: "exists"}
_LATER = frozenset({408, 425, 429, 499})


class _Detail(Struct):
    metadata: dict[str, str] = {}


class _Error(Struct):
    status: str = ""
    message: str = ""
    details: list[_Detail] = []


class _Body(Struct):
    error: _Error = msgspec.field(default_factory=_Error)


class Answered(Exception):
    """An answer that is no success, or none at all. It does not leave this package.

    Attributes:
        verdict: what it means.
        text: for people.
        acknowledgements: ack id to reason, where those of an exactly-once subscription could not be taken.
    """

    def __init__(self, verdict: Verdict, text: str, acknowledgements: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text
        self.acknowledgements = acknowledgements or {}

    @classmethod
    def of(cls, status: int, body: bytes) -> Answered:
        """An HTTP answer that is no success."""
        try:
            error = msgspec.json.decode(body, type=_Body).error
        except msgspec.MsgspecError:
            error = _Error()
        verdict = _STATUSES.get(status, "unavailable" if status >= 500 or status in _LATER else "refused")
        if verdict == "exists" and error.status == "ABORTED":
            verdict = "unavailable"
        first_line = error.message.partition("\n")[0][:300]
        text = ": ".join(part for part in (error.status or f"status {status}", first_line) if part)
        failed = {
            name: reason
            for detail in error.details
            for name, reason in detail.metadata.items()
            if reason.startswith(("PERMANENT_FAILURE", "TRANSIENT_FAILURE"))
        }
        return cls(verdict, text, failed)


def told(what: str, answered: Answered) -> FastlaneError:
    """What a `Source` and an `Administrator` may raise."""
    text = f"{what}: {answered.text}"
    if answered.verdict == "missing":
        return BrokerUnavailable(f"{text}\n    mend: run `fastlane pubsub provision`")
    if answered.verdict == "unavailable":
        return BrokerUnavailable(text)
    return BrokerForbidden(text) if answered.verdict == "forbidden" else ConfigurationError(text)


def as_publisher(what: str, answered: Answered) -> FastlaneError:
    """What a `Publisher` may answer."""
    text = f"{what}: {answered.text}"
    if answered.verdict == "unavailable":
        return BrokerUnavailable(text)
    return PublishRefused(
        f"{text}\n    mend: run `fastlane pubsub provision`" if answered.verdict == "missing" else text
    )
