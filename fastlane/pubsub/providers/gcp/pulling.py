"""Calls for one subscription: pull, and the two that take many ack ids."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fastlane.pubsub.providers.gcp.failures import Answered, told
from fastlane.pubsub.providers.gcp.names import subscription_path
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.wire import Received

__all__ = ["LONGEST", "Pulling"]

LONGEST = 600
"""Seconds: most of a lease, and of a delay."""
POLL = 100.0
"""Seconds that a pull may take. The emulator answers an empty one after 89 s; one that is given up earlier may still
lease what comes."""
_IDS = 500


class _Pulled(Struct, rename="camel"):
    received_messages: list[Received] = []


class _Nothing(Struct):
    pass


_pulled = msgspec.json.Decoder(_Pulled)
_nothing = msgspec.json.Decoder(_Nothing)


class Pulling:
    """A subscription by id or full name."""

    def __init__(self, rest: Rest, physical: str) -> None:
        self.path = subscription_path(rest.project, physical)
        self._rest = rest
        self._what = f"subscription {physical}"

    async def pull(self, limit: int, *, at_once: bool = False) -> list[Received]:
        """Up to ``limit``; ``at_once`` does not wait for any.

        Raises:
            BrokerUnavailable, BrokerForbidden, ConfigurationError
        """
        body: dict[str, Any] = {"maxMessages": min(limit, 1000)}
        if at_once:
            body["returnImmediately"] = True
        timeout = 10.0 if at_once else POLL
        try:
            answer = await self._rest.call("POST", f"{self.path}:pull", body, _pulled, timeout=timeout)
        except Answered as answered:
            raise told(self._what, answered) from None
        return answer.received_messages

    async def acknowledge(self, ids: Sequence[str]) -> set[str]:
        """Answers those whose lease was lost."""
        return await self._each("acknowledge", ids, {})

    async def modify(self, ids: Sequence[str], seconds: int) -> set[str]:
        """Their leases end in so many seconds. Answers those that were lost."""
        return await self._each("modifyAckDeadline", ids, {"ackDeadlineSeconds": seconds})

    async def _each(
        self, call: Literal["acknowledge", "modifyAckDeadline"], ids: Sequence[str], rest: dict[str, Any]
    ) -> set[str]:
        parts = [ids[start : start + _IDS] for start in range(0, len(ids), _IDS)]
        # What can be acknowledged is, before the caller hears of what could not.
        answers = await asyncio.gather(*(self._some(call, part, rest) for part in parts), return_exceptions=True)
        lost: set[str] = set()
        for answer in answers:
            if isinstance(answer, Answered):
                raise told(self._what, answered=answer) from None
            if isinstance(answer, BaseException):
                raise answer
            lost |= answer
        return lost

    async def _some(self, call: str, ids: Sequence[str], rest: dict[str, Any]) -> set[str]:
        try:
            await self._rest.call("POST", f"{self.path}:{call}", {"ackIds": ids, **rest}, _nothing)
        except Answered as answered:
            if answered.verdict != "refused":
                raise
            failed = answered.acknowledgements
            if any(reason.startswith("TRANSIENT") for reason in failed.values()):
                raise Answered("unavailable", answered.text) from None
            if failed:
                return set(failed)
            if len(ids) == 1:
                return set(ids)
            # Something is wrong with one of them, and nothing says which.
            lost: set[str] = set()
            for one in ids:
                lost |= await self._some(call, [one], rest)
            return lost
        return set()
