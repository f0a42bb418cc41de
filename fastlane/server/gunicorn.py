"""Run the lane under gunicorn: ``gunicorn blog:app -k fastlane.server.gunicorn.Worker``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.workers.base import Worker as GunicornWorker  # type: ignore[import-untyped]
from msgspec import structs

from fastlane.resources import are_declared
from fastlane.resources.lock import MachineLock
from fastlane.resources.surroundings import Surroundings
from fastlane.server.config import LaneConfig
from fastlane.server.server import SILENT_SECONDS, LaneServer
from fastlane.server.worker import end_leftovers, freeze
from fastlane.supervisor.failure import BootFailure

__all__ = ["Worker"]

_MARGIN_SECONDS = 1.0
"""The arbiter kills at its graceful timeout: what is to be cut off properly has to be before."""


class Worker(GunicornWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn worker with uvloop and the lane's protocol.

    gunicorn's options count: keepalive, timeout (its heartbeat is the event loop's), graceful_timeout, max_requests and
    its jitter, forwarded_allow_ips, the TLS options, its hooks and log files. TERM drains; INT and QUIT end at once.
    """

    def init_process(self) -> None:
        for name in ("uvicorn.error", "fastlane"):
            _adopt(logging.getLogger(name), self.log.error_log)
        _adopt(logging.getLogger("uvicorn.access"), self.log.access_log)
        super().init_process()

    def configuration(self) -> LaneConfig:
        """What gunicorn's settings mean for the lane."""
        cfg = self.cfg
        graceful = max(0.0, cfg.graceful_timeout - _MARGIN_SECONDS)
        config = LaneConfig(
            self.wsgi,
            timeout_keep_alive=float(cfg.keepalive),
            timeout_graceful_shutdown=graceful,
            forwarded_allow_ips=cfg.forwarded_allow_ips,
            limit_max_requests=None if self.max_requests == sys.maxsize else self.max_requests,
            access_log=bool(self.log.access_log.handlers),
            ssl_certfile=cfg.certfile if cfg.is_ssl else None,
            ssl_keyfile=cfg.keyfile if cfg.is_ssl else None,
            ssl_ca_certs=cfg.ca_certs if cfg.is_ssl else None,
            ssl_cert_reqs=cfg.cert_reqs,
            surroundings=self._surroundings(),
        )
        if cfg.is_ssl and cfg.ciphers:
            config.ssl_ciphers = cfg.ciphers
        return config

    def _surroundings(self) -> Surroundings | None:
        """What the app's resources are told of this process: it prepares by itself, with a place among its siblings."""
        if not are_declared():
            return None
        from fastlane.tenancy import surroundings_alone

        place = self._take_place()
        return structs.replace(surroundings_alone(), index=place % self.cfg.workers, workers=self.cfg.workers)

    def _take_place(self) -> int:
        """The first that no sibling has. gunicorn numbers its workers by age, and tells nobody who replaces whom.

        While gunicorn reloads there are twice as many workers as places: the new ones then share them with the old.
        """
        for place in range(self.cfg.workers * 2):
            lock = MachineLock(f"gunicorn-{self.ppid}-{place}")
            if lock.try_acquire():
                self._place = lock  # until this process ends
                return place
        return int(self.age)

    def run(self) -> None:
        """Serve until the arbiter says TERM, or is gone."""
        freeze(self.wsgi)
        config = self.configuration()
        config.load()
        server = _Server(config, self)
        loop = (config.get_loop_factory() or asyncio.new_event_loop)()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.serve(sockets=[listener.sock for listener in self.sockets]))
        except BootFailure as failure:
            self.log.error("%s", failure)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        finally:
            loop.run_until_complete(end_leftovers())
            asyncio.set_event_loop(None)
            loop.close()


class _Server(LaneServer):
    def __init__(self, config: LaneConfig, worker: Worker) -> None:
        super().__init__(config, silent=SILENT_SECONDS)
        self._worker: Any = worker

    def _beat(self) -> None:
        super()._beat()
        self._worker.notify()
        if self.should_exit:
            return
        if os.getppid() != self._worker.ppid:
            self._worker.log.info("the arbiter is gone: ending %s", self._worker)
            self.stop()
        elif not self._worker.alive:  # TERM came before this server took the signals
            self.stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's server takes INT and TERM while it runs: give INT its meaning in gunicorn."""
        self._worker.alive = False
        if sig == signal.SIGINT:
            self._worker.cfg.worker_int(self._worker)
            self.force_exit = True
        # The signal is not raised again after the end, as uvicorn would: gunicorn reads the exit code.
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._stop.set)


def _adopt(logger: logging.Logger, gunicorn: logging.Logger) -> None:
    """Let a logger write where gunicorn's does."""
    logger.handlers = gunicorn.handlers
    logger.setLevel(gunicorn.level)
    logger.propagate = False
