"""Which nsqd there are: those that the configuration names, or those that nsqlookupd knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastlane.errors import FastlaneError
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address
from fastlane.pubsub.providers.nsq.http import Http

__all__ = ["Directory"]


class Directory:
    """Asks every nsqlookupd.

    Args:
        nsqd: as configured.
        lookupd: ``host:port`` of the HTTP side of each.
        interval: seconds between two looks.
    """

    def __init__(self, nsqd: Sequence[Address], lookupd: Sequence[str], interval: float, http: Http) -> None:
        self.nsqd = tuple(nsqd)
        self.lookupd = tuple(lookupd)
        self.interval = interval
        self._http = http

    async def producers(self, topic: str) -> set[Address]:
        """Each nsqd that has the topic: all that are configured where there is no nsqlookupd.

        Raises:
            BrokerUnavailable: no nsqlookupd answered.
        """
        if not self.lookupd:
            return set(self.nsqd)
        return {Address(host, tcp) for host, tcp, _ in await self._ask("/lookup", {"topic": topic})}

    async def all(self) -> list[Address]:
        """Each nsqd that can be published to: the configured ones, else all that nsqlookupd knows."""
        if self.nsqd:
            return list(self.nsqd)
        return sorted({Address(host, tcp) for host, tcp, _ in await self._ask("/nodes", {})})

    async def http_addresses(self) -> list[str]:
        """The HTTP side of each nsqd that nsqlookupd knows."""
        return sorted({str(Address(host, http)) for host, _, http in await self._ask("/nodes", {})})

    async def _ask(self, path: str, query: dict[str, str]) -> set[tuple[str, int, int]]:
        """Of each producer: host, TCP port, HTTP port. One nsqlookupd that answers is enough."""
        answers = await asyncio.gather(
            *(self._http.get(each, path, query) for each in self.lookupd), return_exceptions=True
        )
        found: set[tuple[str, int, int]] = set()
        failed: list[BaseException] = []
        for answer in answers:
            if isinstance(answer, FastlaneError):
                failed.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found |= _producers(answer)
        if failed and len(failed) == len(answers):
            raise BrokerUnavailable(f"no nsqlookupd answers: {failed[0]}") from failed[0]
        return found


def _producers(answer: Any) -> set[tuple[str, int, int]]:
    """Of an answer of nsqlookupd: flat since 1.0, inside ``data`` before. A topic that it does not know has none."""
    found = set()
    if isinstance(answer, dict):
        data = answer.get("data", answer)
        for each in (data.get("producers") if isinstance(data, dict) else None) or ():
            match each:
                case {"broadcast_address": str(host), "tcp_port": int(tcp), "http_port": int(http)}:
                    found.add((host, tcp, http))
                case _:
                    raise BrokerUnavailable(f"nsqlookupd answered a producer without an address: {each!r:.200}")
    return found
