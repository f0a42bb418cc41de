"""How a connection begins: IDENTIFY, TLS, AUTH, SUB."""

from __future__ import annotations

import asyncio
from typing import Any

import attr
import msgspec
from ansq.tcp.exceptions import NSQUnauthorized
from ansq.tcp.protocol import Reader
from ansq.tcp.types import ConnectionFeatures, NSQCommands

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.connection import Connection, Refused

__all__ = ["CONNECT", "connect", "subscribe"]

CONNECT = 3.0
"""Seconds for a connection, TLS, IDENTIFY and AUTH together."""

# ansq's encoder is sound as long as the body is not empty. It costs several µs, which only rare commands may.
_encode = Reader().encode_command


async def connect(address: Address, *, security: Security, heartbeat: float, lease: float = 0.0) -> Connection:
    """Open a connection, identify, upgrade to TLS, authorise.

    Args:
        heartbeat: seconds between nsqd's signs of life, at least 1; after 2.5 of them the connection is given up.
        lease: seconds for ``msg_timeout``; 0: nsqd's default.

    Raises:
        BrokerUnavailable: within `CONNECT` seconds it could not be had, with the reason.
    """
    features = ConnectionFeatures(
        user_agent="fastlane",
        heartbeat_interval=round(heartbeat * 1000),
        msg_timeout=round(lease * 1000),
        tls_v1=security.tls is not None,
    )
    connection = Connection(address, heartbeat)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT):
            await loop.create_connection(lambda: connection, address.host, address.port)
            await _greet(connection, features, security)
    except BaseException as error:
        connection.abort("not greeted")
        if isinstance(error, TimeoutError):
            raise BrokerUnavailable(f"nsqd at {address} did not answer within {CONNECT:g} s") from error
        if isinstance(error, Refused):
            mend = "\n    mend: look at the secret in `auth`, and what it allows" if _about_auth(error) else ""
            raise BrokerUnavailable(f"{error}{mend}") from error
        if isinstance(error, OSError):  # ssl.SSLError is one
            raise BrokerUnavailable(f"nsqd at {address} can't be reached: {error}") from error
        raise
    return connection


async def _greet(connection: Connection, features: ConnectionFeatures, security: Security) -> None:
    connection.send(NSQCommands.MAGIC_V2)
    # PERF: unbuffered. nsqd would keep a message for up to 250 ms in the hope of another (measured at 100 messages/s:
    # p50 130 ms by default, 14 ms with the least it allows, 0.4 ms so). It costs 1 µs a message here.
    wanted = msgspec.json.encode({**attr.asdict(features), "output_buffer_size": -1})
    answer = await connection.ask(_encode(NSQCommands.IDENTIFY, data=wanted))
    try:
        said: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.MsgspecError:
        said = {}
    connection.most_ready = said.get("max_rdy_count", 2500)
    if security.tls is not None:
        if not said.get("tls_v1"):
            raise BrokerUnavailable(
                f"nsqd at {connection.address} does not offer TLS, and the configuration asks for it\n"
                "    mend: start nsqd with --tls-cert and --tls-key, or take `tls` from the configuration"
            )
        await connection.secure(security)
    if said.get("auth_required"):
        if security.auth is None:
            raise BrokerUnavailable(
                f"nsqd at {connection.address} asks for AUTH\n    mend: give the provider `auth`, a secret"
            )
        await connection.ask(_encode(NSQCommands.AUTH, data=security.auth))


async def subscribe(connection: Connection, topic: str, channel: str) -> None:
    """SUB. Both are made where they are not there.

    Raises:
        Refused, Lost: the connection has ended.
    """
    connection.topic = topic
    await connection.ask(_encode(NSQCommands.SUB, topic, channel))


def _about_auth(error: Refused) -> bool:
    return isinstance(error.error, NSQUnauthorized) or "E_AUTH" in str(error.error)
