from __future__ import annotations

import logging

import pytest

from fastlane.supervisor.logs import reopen_logs


@pytest.mark.parametrize("delay", [False, True])
def test_a_file_that_was_moved_away_is_opened_again(tmp_path, delay):
    path = tmp_path / "log"
    logger = logging.getLogger("fastlane.test.reopened")
    handler = logging.FileHandler(path, delay=delay)
    logger.addHandler(handler)
    try:
        if not delay:
            logger.error("before")
            path.rename(tmp_path / "log.1")
        reopen_logs()
        logger.error("after")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert path.read_text() == "after\n"
