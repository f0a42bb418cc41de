from __future__ import annotations

import os
import socket
import sys

import pytest

from fastlane.supervisor import succession
from fastlane.supervisor.listeners import Listener
from fastlane.supervisor.settings import Address


class Exited(BaseException):
    """Instead of the end of this process."""


def test_sockets_of_an_activation_are_inherited_and_the_variables_forgotten():
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "FASTLANE_PREDECESSOR": "7", "HOME": "/"}
    assert succession.predecessor_of(environment) == 7
    assert succession.inherited_addresses(environment) == (Address(fd=3), Address(fd=4))
    assert environment == {"HOME": "/"}
    assert succession.inherited_addresses(environment) == ()
    assert succession.predecessor_of(environment) is None


def test_the_old_one_learns_the_process_id(monkeypatch):
    monkeypatch.setattr(os, "fork", lambda: 815)
    assert succession.start_successor([]) == 815


def test_the_new_one_is_the_same_command_with_the_sockets_in_their_places(monkeypatch):
    placed, executed = [], []

    def exit_process(code):
        raise Exited(code)

    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "_exit", exit_process)
    monkeypatch.setattr(os, "dup2", lambda copy, place: placed.append(place))
    monkeypatch.setattr(os, "execve", lambda *arguments: executed.append(arguments))
    with socket.socket() as one, pytest.raises(Exited):
        succession.start_successor([Listener(one), Listener(one)])
    assert placed == [3, 4]
    [(program, arguments, environment)] = executed
    assert program == arguments[0] == sys.executable
    assert arguments[1:] == sys.orig_argv[1:]
    assert environment["LISTEN_FDS"] == "2"
    assert environment["LISTEN_PID"] == str(os.getpid())
    assert environment["FASTLANE_PREDECESSOR"] == str(os.getppid())
