"""From bytes to requests and on to the next: what a connection is doing, and when it must end.

Bytes go one way. They collect in the ``Intake`` until a head is whole, its body is taken behind it, the request is
answered, and only then the next one is looked at. So there is one request at a time on a connection, pipelined ones
wait as bytes, and nothing of the application runs inside a parser.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from fastlane.answer import too_large
from fastlane.errors import HTTPError, RequestTimeout
from fastlane.http.problem import problem_response
from fastlane.server.cycle import READ_AHEAD
from fastlane.server.intake import Intake
from fastlane.server.lane import Lane
from fastlane.server.phases import BODY, BUSY, CLOSED, DROP, HEAD, IDLE, LINGER, STREAM
from fastlane.server.wire import Wire

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from fastlane.server.cycle import Cycle
    from fastlane.server.head import LaneHead

__all__ = ["Reception"]

logger = logging.getLogger("uvicorn.error")

TURN = 64
"""Pipelined requests that are answered before other connections get a turn."""


class Reception(Wire):
    """A connection that receives requests. ``LaneProtocol`` adds how they are answered."""

    __slots__ = (
        "_advancing",
        "_body",
        "_body_limit",
        "_body_size",
        "_continue_owed",
        "_cycle",
        "_draining",
        "_half_closed",
        "_head",
        "_intake",
        "_is_awaited",
        "_keep_alive",
        "_lingering",
        "_parked",
        "_phase",
        "_quiet",
        "_remembered",
        "_seen",
        "_served",
        "_started_at",
    )

    def __init__(self, lane: Lane, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(lane, config, server_state, loop)
        self._phase = IDLE
        self._intake = Intake(lane.limits)
        self._remembered: LaneHead | None = None
        self._keep_alive = True
        self._draining = False
        self._half_closed = False
        self._advancing = False
        self._parked = False
        # the request that is being received or answered
        self._head: LaneHead | None = None
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_limit: int | None = None
        self._continue_owed = False
        self._is_awaited = False  # the application waits for more of the body
        self._cycle: Cycle | None = None
        self._started_at = 0.0
        # requests answered so far, and what the idle timer has seen of them
        self._served = 0
        self._seen = 0
        self._quiet = 0.0
        self._lingering = 0

    # What the subclass does with a request

    def begin(self, head: LaneHead) -> None:
        """A whole head stands: decide who answers it."""
        raise NotImplementedError

    def answer_again(self, head: LaneHead, body: bytes) -> None:
        """The remembered head has come again, with all its body and nothing behind it."""
        raise NotImplementedError

    def answer(self, head: LaneHead, body: bytes) -> None:
        """A compiled route's request stands with all its body."""
        raise NotImplementedError

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        self.arm(self.lane.limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase == IDLE:
            head = self._remembered
            if head is not None and len(data) == head.message_size and data.startswith(head.raw):
                # The client has sent its last head again: it says what it said before (REQUESTS 5, "Remembered heads").
                self.answer_again(head, data[head.size :] if head.content_length else b"")
                return
            self._intake.buffer = data
            self._advance()
        elif phase == HEAD:
            self._intake.buffer += data
            self._advance()
        elif phase in (BODY, STREAM, DROP):
            self._intake.buffer += data
            self._take_body()
        elif phase == BUSY:
            self._intake.buffer += data
            if len(self._intake.buffer) > READ_AHEAD:
                self.pause_reading()
        elif phase == LINGER:
            self._lingering += len(data)
            if self._lingering > self.lane.limits.linger:
                self.transport.abort()

    def eof_received(self) -> bool:
        """A client that has said all may still wait for its answer: keep our direction open until it has it."""
        if self._phase != BUSY or self.transport.get_extra_info("sslcontext"):
            return False
        self._half_closed = True
        if self._cycle is not None:
            self._cycle.half_close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        self._phase = CLOSED
        self._remembered = None
        self._intake.close()
        self.forget_transport()
        if self._cycle is not None:
            self._cycle.disconnect()
        if exc is None and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._phase == IDLE:
            self._park()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._parked:
            self._unpark()

    # uvicorn's server

    def shutdown(self) -> None:
        """Close at once when nothing is being answered, else after the answer."""
        if self._phase in (IDLE, HEAD):
            self._close()
        else:
            self.drain()

    def drain(self) -> None:
        """Answer what is being answered, or one request more if it comes, with ``connection: close``; then close."""
        self._draining = True
        self._remembered = None
        self._keep_alive = False

    def forget(self) -> None:
        """The routes have been compiled again: what is remembered of them is stale."""
        self._remembered = None

    @property
    def timeout_keep_alive_task(self) -> asyncio.TimerHandle | None:
        """The timer, while it is the keep-alive time that it counts."""
        return self._timer if self._phase == IDLE and self._served else None

    def is_disconnected(self) -> bool:
        """Whether the connection is closed or about to be, or the peer has said its last: most clients that close a
        connection are gone, though one may still wait for its answer.
        """
        return self._phase == CLOSED or self._half_closed or self.transport.is_closing()

    # From bytes to requests

    def _advance(self) -> None:
        """Answer what has arrived, one request at a time; what is answered at once leaves in one write."""
        if self._advancing:
            return
        self._advancing = True
        self.gather()
        intake = self._intake
        turns = TURN
        try:
            while intake.buffer and self._phase <= HEAD:
                if self.write_paused or not turns:
                    self._park()
                    break
                turns -= 1
                head = intake.take_head(self._remembered)
                if head is None:
                    if self._half_closed:
                        self._close()
                    elif intake.is_partial and self._phase == IDLE:
                        self._phase = HEAD
                        self.resume_reading()
                        self.arm(self.lane.limits.header_timeout)
                    break
                self.begin(head)
        except HTTPError as error:
            self._refuse(error)
        finally:
            self._advancing = False
            self.flush()
        if self._phase == IDLE:
            self._await_request()

    def _park(self) -> None:
        """Leave the rest for later: the peer does not read its answers, or others are waiting for a turn."""
        self._phase = BUSY
        self._parked = True
        self.pause_reading()
        if not self.write_paused:
            self.loop.call_soon(self._unpark)

    def _unpark(self) -> None:
        if self._parked and not self.write_paused and self._phase == BUSY:
            self._parked = False
            self._phase = IDLE
            self._continue()

    def _continue(self) -> None:
        """After an answer: go on with what has arrived meanwhile, or wait for the next request."""
        if self._intake.buffer:
            self._advance()
        elif self._phase == IDLE:
            self._await_request()

    def _await_request(self) -> None:
        """Idle: read, and see to it that a timer runs."""
        if self._half_closed:
            self._close()
            return
        self.context = self.lane.server_context
        self.resume_reading()
        # PERF: requests don't touch the timer, they are counted; it looks at the count when it fires.
        if self._timer is None or self._timer_delay > self.config.timeout_keep_alive:
            self._seen = self._served
            self._quiet = 0.0
            self.arm(self.config.timeout_keep_alive)

    def _take_body(self) -> None:
        """Bytes of the current body have arrived."""
        intake = self._intake
        if intake.buffer:
            self._continue_owed = False
        try:
            piece, last = intake.take_body()
            self._body_size += len(piece)
            if self._body_limit is not None and self._body_size > self._body_limit:
                raise too_large(self._body_limit)
        except HTTPError as error:
            self._refuse(error)
            return
        phase = self._phase
        cycle = self._cycle
        if last:
            self.disarm()
            self._phase = BUSY
        elif phase != STREAM:
            self.arm(self.lane.limits.body_timeout)
        if phase == BODY:
            self._body.append(piece)
            if last:
                body = b"".join(self._body)
                self._body.clear()
                self.answer(self._head, body)  # type: ignore[arg-type]
            else:
                self.resume_reading()
        elif cycle is not None:
            self.disarm()
            self._is_awaited = False
            cycle.feed(piece, last=last)
            if len(cycle.body) > READ_AHEAD:
                self.pause_reading()
        elif last and phase == DROP:
            self._phase = IDLE
            self._continue()

    # Ends of requests and of connections

    def connection_field(self, head: LaneHead, *, last: bool) -> bytes:
        """The response's Connection field. ``last``: nobody will read what is still missing of the request's body."""
        if last and self._phase == STREAM and (self._continue_owed or self._intake.unread > self.lane.limits.linger):
            self._keep_alive = False
        if not self._keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if head.http_version == "1.0" else b""

    def complete(self, head: LaneHead, status: int, size: int) -> None:
        """The response is written: count it, and close, drop the unread body, or go on to the next request."""
        self.server_state.total_requests += 1
        self._served += 1
        lane = self.lane
        if lane.access_log is not None:
            lane.log_access(self, head, status, size, monotonic() - self._started_at)
        phase = self._phase
        if phase == CLOSED:
            return
        self._head = self._cycle = None
        if not self._keep_alive:
            if phase == STREAM:
                self._linger()
            else:
                self._close()
        elif phase == STREAM:
            self._phase = DROP
            self._body_limit = lane.limits.linger
            self._body_size = 0
            self.resume_reading()
            self._take_body()
        else:
            self._phase = IDLE
            if not self._advancing:
                self._continue()

    def _refuse(self, error: HTTPError) -> None:
        """The bytes can't be trusted any more, or don't come: say so if nothing has been said yet, and close."""
        cycle, self._cycle = self._cycle, None
        head, self._head = self._head, None
        answered = self._phase == DROP or (cycle is not None and cycle.started)
        if cycle is not None:
            cycle.disconnect()
        if answered:
            self._close()
            return
        logger.warning(error.detail)
        response = problem_response(error)
        is_head = head.method == "HEAD" if head is not None else self._intake.asks_for_head()
        body = b"" if is_head else response.body
        self.write(self.lane.render(error.status, response.wire_headers(), b"connection: close\r\n", body))
        self.server_state.total_requests += 1
        if error.status == 400:
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Close, but read on a little: a close with unread bytes would reset the answer away (RFC 9112 9.6)."""
        self._remembered = None
        self._intake.close()
        if not self.close_writing():
            self._close()
            return
        self._phase = LINGER
        self.resume_reading()
        self.arm(self.lane.limits.linger_timeout)

    def _close(self) -> None:
        self._phase = CLOSED
        self._remembered = None
        self._intake.close()
        self.close_transport()

    # Time

    def on_timer(self) -> None:
        self._timer = None
        phase = self._phase
        if self.write_paused:
            logger.warning("A client has not read for %g s; its connection is aborted.", self.lane.limits.write_timeout)
            self.transport.abort()
        elif phase == IDLE and self._served:
            self._check_idle()
        elif phase == HEAD:
            self._refuse(RequestTimeout("the request head did not arrive in time"))
        elif phase == BODY or (phase == STREAM and self._is_awaited):
            self._refuse(RequestTimeout("the request body did not arrive in time"))
        elif phase not in (BUSY, STREAM):
            self._close()

    def _check_idle(self) -> None:
        """Keep-alive is counted in quarters of its time, so that a request costs an increment and no clock or timer."""
        keep_alive = self.config.timeout_keep_alive
        if self._seen != self._served:
            self._seen = self._served
            self._quiet = 0.0
        else:
            self._quiet += self._timer_delay
            if self._quiet >= keep_alive:
                self._close()
                return
        self.arm(keep_alive / 4)
