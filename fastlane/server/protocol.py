"""The fast lane: uvicorn's HTTP protocol, with parser callbacks and response cycle of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastlane.answer import (
    answer_refusal,
    answer_unsendable,
    check_expectation,
    check_media_type,
    check_response,
    too_large,
)
from fastlane.errors import BadRequest, HTTPError, Internal, Unavailable
from fastlane.http.problem import problem_response
from fastlane.http.request import Request
from fastlane.http.response import Response, is_bodiless
from fastlane.server.cycle import Cycle, build_scope, note_cut_off
from fastlane.server.lane import Lane
from fastlane.server.phases import BODY, BUSY, CLOSED, IDLE, STREAM
from fastlane.server.reception import Reception
from fastlane.server.reply import LENGTHS, LENGTHS_COUNT

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from fastlane.endpoint import Endpoint
    from fastlane.server.head import LaneHead

__all__ = ["LaneProtocol"]

logger = logging.getLogger("uvicorn.error")

REMEMBERED_SIZE = 2048
"""A longer head is read anew each time, so that what a connection remembers is bounded (REQUESTS 5)."""


class LaneProtocol(Reception):
    """One connection. Run ``fastlane serve``, or uvicorn with ``--http fastlane.server.protocol:LaneProtocol``.

    It keeps uvicorn's constructor, the contract with its server (``shutdown``, ``connections``, ``tasks``,
    ``total_requests``), the WebSocket hand-over and flow control. ``drain`` is ours: answer once more, then close.

    Attributes:
        scope: the last ASGI scope of this connection.
        ws_protocol_class: takes the connection over at a WebSocket handshake; None ignores the upgrade.
    """

    __slots__ = ("scope", "ws_protocol_class")

    scope: dict[str, Any]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        lane = Lane.of(config, server_state, app_state)
        super().__init__(lane, config, server_state, _loop or asyncio.get_event_loop())
        self.ws_protocol_class = config.ws_protocol_class

    # A request begins

    def begin(self, head: LaneHead) -> None:
        self._head = head
        self.context = self.lane.request_context()
        self._keep_alive = head.keep_alive and not self._draining
        fastlane = self.lane.fastlane
        # PERF: a request that asks for nothing special and has no body needs none of the questions below: 0.9 µs less.
        if (
            head.plain
            and not head.content_length
            and fastlane is not None
            and self.config.limit_concurrency is None
            and self._route(head)
        ):
            self._phase = BUSY
            self._remember(head)
            self.answer(head, b"")
            return
        if head.upgrade is not None and self._hand_over(head):
            return
        has_body = self._intake.begin_body(head)
        self._cycle = None
        self._phase = STREAM if has_body else BUSY
        self._continue_owed = has_body and head.expect is not None
        self._is_awaited = False
        self._started_at = monotonic()
        self._body_size = 0
        self._body_limit = None
        error = self._refuse_overload()
        if error is not None:
            self._reply_response(head, problem_response(error))
        elif fastlane is not None and self._route(head):
            self._begin_route(head, has_body)
        else:
            self._begin_asgi(head, has_body)

    def _refuse_overload(self) -> HTTPError | None:
        limit = self.config.limit_concurrency
        if limit is None or (len(self.server_state.connections) < limit and len(self.server_state.tasks) < limit):
            return None
        logger.warning("Exceeded concurrency limit.")
        self._keep_alive = False
        return Unavailable("the server is at its limit of concurrent requests")

    def _route(self, head: LaneHead) -> bool:
        """Find the route; false when it is for the ASGI door."""
        table = self.lane.fastlane.table  # type: ignore[union-attr]
        match = table.exact.get(head.route_key) or table.match(head.method, head.raw_path)
        if match.endpoint.asgi is not None:
            return False
        head.endpoint = match.endpoint
        head.values = match.values
        return True

    # A compiled route

    def _begin_route(self, head: LaneHead, has_body: bool) -> None:
        endpoint: Endpoint = head.endpoint  # type: ignore[assignment]
        rule = endpoint.body
        limit = rule.max_size if rule is not None else self.lane.max_body
        try:
            if head.expect is not None:
                check_expectation(head)
            if has_body and endpoint.route is not None:
                if limit is not None and head.content_length > limit:
                    raise too_large(limit)
                if rule is not None:
                    check_media_type(head, rule)
        except HTTPError as error:
            request = self._request(head, b"")
            self.start_task(self._settle(head, answer_refusal(self.lane.fastlane.table, request, error)))  # type: ignore[union-attr]
            return
        if not has_body or endpoint.route is None:
            # What nobody wrote (404, 405, OPTIONS) is answered before the body is read.
            self.answer(head, b"")
            return
        self._remember(head)
        self._body_limit = limit
        self._phase = BODY
        self._take_body()
        if self._phase == BODY and self._continue_owed:
            self._continue_owed = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _remember(self, head: LaneHead) -> None:
        if head.plain and head.size <= REMEMBERED_SIZE and not self._draining:
            head.message_size = head.size + head.content_length
            self._remembered = head

    def answer_again(self, head: LaneHead, body: bytes) -> None:
        endpoint: Endpoint = head.endpoint  # type: ignore[assignment]
        lane = self.lane
        context = lane.request_context()
        if endpoint.suspends or endpoint.empty:
            self.context = context
            self.answer(head, body)
            return
        if lane.access_log is not None:
            self._started_at = monotonic()
        # PERF: what `answer`, `_reply`, `write` and `complete` do for this case, in one frame: 0.9 µs instead of 1.5.
        request = Request(head, head.values, body, self, endpoint, lane.context) if endpoint.needs_request else None
        try:
            result = context.run(endpoint.call, request)  # type: ignore[arg-type]
        except Exception as error:
            self.context = context
            self._fail(head, error, request, body)
            return
        state = self.server_state
        if result.__class__ is bytes and state.default_headers is lane.default_headers:
            length = len(result)
            prefix = lane.prefixes.get(endpoint)
            if prefix is not None and length < LENGTHS_COUNT:
                self.transport.write(prefix + LENGTHS[length] + result)
                state.total_requests += 1
                self._served += 1
                if lane.access_log is not None:
                    lane.log_access(self, head, endpoint.status, length, monotonic() - self._started_at)
                return
        self.context = context
        self._reply(head, endpoint, result)  # type: ignore[arg-type]

    def answer(self, head: LaneHead, body: bytes) -> None:
        endpoint: Endpoint = head.endpoint  # type: ignore[assignment]
        lane = self.lane
        if lane.access_log is not None:
            self._started_at = monotonic()
        request = Request(head, head.values, body, self, endpoint, lane.context) if endpoint.needs_request else None
        if endpoint.suspends:
            if self._phase != STREAM:
                self._phase = BUSY
            self.start_eager_task(self._run(head, endpoint, request, body))
            return
        try:
            result = self.context.run(endpoint.call, request)  # type: ignore[arg-type]
        except Exception as error:
            self._fail(head, error, request, body)
        else:
            self._reply(head, endpoint, result)  # type: ignore[arg-type]

    async def _run(self, head: LaneHead, endpoint: Endpoint, request: Request | None, body: bytes) -> None:
        try:
            result = await endpoint.call(request)  # type: ignore[arg-type, misc]
        except Exception as error:
            outcome = self.lane.failure(request or self._request(head, body), error)
            self._reply_response(head, outcome if isinstance(outcome, Response) else await outcome)
        except BaseException as error:
            note_cut_off(error, head)
            self._close()
            raise
        else:
            self._reply(head, endpoint, result)

    def _request(self, head: LaneHead, body: bytes) -> Request:
        return Request(head, head.values, body, self, head.endpoint, self.lane.context)  # type: ignore[arg-type]

    def _fail(self, head: LaneHead, error: Exception, request: Request | None, body: bytes) -> None:
        """Answer the exception of a handler that never suspends, as the app's exception handlers say."""
        outcome = self.context.run(self.lane.failure, request or self._request(head, body), error)
        if isinstance(outcome, Response):
            self._reply_response(head, outcome)
        else:
            if self._phase == IDLE:
                self._phase = BUSY
            self.start_task(self._settle(head, outcome))

    async def _settle(self, head: LaneHead, outcome: Awaitable[Response[Any]]) -> None:
        try:
            response = await outcome
        except BaseException as error:
            note_cut_off(error, head)
            self._close()
            raise
        self._reply_response(head, response)

    def _reply(self, head: LaneHead, endpoint: Endpoint, result: bytes | Response[Any]) -> None:
        if result.__class__ is not bytes:
            self._reply_response(head, result)  # type: ignore[arg-type]
            return
        prefix = self.lane.prefix(endpoint)
        length = len(result)
        if head.plain and self._keep_alive and length < LENGTHS_COUNT and not endpoint.empty and self._phase != STREAM:
            self.write(prefix + LENGTHS[length] + result)
        else:
            if not endpoint.empty:
                prefix += b"%d\r\n" % length
            prefix += self.connection_field(head, last=True) + b"\r\n"
            self.write(prefix if head.method == "HEAD" or endpoint.empty else prefix + result)
        self.complete(head, endpoint.status, length)

    def _reply_response(self, head: LaneHead, response: Response[Any]) -> None:
        status = response.status
        try:
            check_response(response)
        except Exception as error:
            self._phase = BUSY if self._phase == IDLE else self._phase
            request = self._request(head, b"")
            self.start_task(self._settle(head, answer_unsendable(self.lane.fastlane.table, request, error)))  # type: ignore[union-attr]
            return
        if response.streams:
            self._stream(head, response)
            return
        try:
            headers = response.wire_headers()  # encodes what middleware or an exception handler has left as an object
            body = b"" if head.method == "HEAD" or is_bodiless(status) else response.body
            data = self.lane.render(status, headers, self.connection_field(head, last=True), body)
        except Exception:
            logger.exception("A response can't be sent; a 500 is sent instead.")
            self.answer_fault(head)
            return
        self.write(data)
        background = response.background
        context = self.context  # `complete` may begin the next request, with a context of its own
        self.complete(head, status, len(body))
        if background is not None:
            self.start_task(background(), context)

    def _stream(self, head: LaneHead, response: Response[Any]) -> None:
        """A body in pieces goes out as a plain ASGI application's does: framed, and at the pace of its reader."""
        if self._phase == IDLE:
            self._phase = BUSY
        cycle = self._cycle = Cycle(self, head, build_scope(self, head))
        cycle.feed(b"", last=self._phase == BUSY)
        self.start_task(cycle.run(response))

    # A plain ASGI application

    def _begin_asgi(self, head: LaneHead, has_body: bool) -> None:
        limit = self.lane.limits.body_size
        try:
            if head.expect is not None:
                check_expectation(head)
            if limit is not None and head.content_length > limit:
                raise too_large(limit)
        except HTTPError as error:
            self._reply_response(head, problem_response(error))
            return
        self._body_limit = limit
        self.scope = build_scope(self, head)
        cycle = self._cycle = Cycle(self, head, self.scope)
        self.start_application(cycle.run(self.lane.app))
        if not has_body:
            cycle.feed(b"", last=True)
        elif self._intake.buffer:
            self._take_body()

    def answer_fault(self, head: LaneHead) -> None:
        """A 500 for an application that failed before it answered; the connection closes behind it."""
        self._keep_alive = False
        self._reply_response(head, problem_response(Internal()))

    def abandon(self, cycle: Cycle) -> None:
        """An application failed within or behind its answer: only a closed connection can tell the client so."""
        if self._cycle is cycle or (self._phase == IDLE and cycle.complete):
            self._close()

    def await_body(self) -> None:
        """The application waits for more of the body: now its arrival has a deadline."""
        if self._continue_owed:
            self._continue_owed = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.resume_reading()
        self._is_awaited = True
        self.arm(self.lane.limits.body_timeout)

    def close_after_response(self) -> None:
        """The response says ``connection: close``, or ends where the connection does."""
        self._keep_alive = False

    # A WebSocket

    def _hand_over(self, head: LaneHead) -> bool:
        """Give the connection to uvicorn's WebSocket protocol; false when the upgrade is ignored (RFC 9110 7.8)."""
        protocol_class = self.ws_protocol_class
        if head.upgrade != b"websocket" or head.method != "GET" or protocol_class is None:
            logger.warning("Unsupported upgrade request.")
            if protocol_class is None:
                logger.warning(
                    "No supported WebSocket library detected. Please use \"pip install 'uvicorn[standard]'\", "
                    "or install 'websockets' or 'wsproto' manually."
                )
            return False
        if head.chunked or head.content_length:
            raise BadRequest("a WebSocket handshake has no body")
        # Names in lower case, as the scope that the WebSocket protocol makes of them must have them.
        fields = b"".join(b"%b: %b\r\n" % field for field in head.header_list())
        handshake = b"GET %b HTTP/1.1\r\n%b\r\n" % (head.target.encode("ascii"), fields)
        rest = self._intake.buffer
        self._intake.close()
        self.flush()
        self.disarm()
        self.resume_reading()
        self._phase = CLOSED
        self.server_state.connections.discard(self)
        protocol = protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lane.app_state
        )
        protocol.connection_made(self.transport)
        protocol.data_received(handshake)
        self.transport.set_protocol(protocol)
        if rest and not self.transport.is_closing():
            protocol.data_received(rest)
        return True
