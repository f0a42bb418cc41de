from __future__ import annotations

import socket
import struct

from fastlane.supervisor.channel import Channel, Mailbox, shortened


def test_messages_arrive_whole_and_in_order():
    one, other = Channel.pair()
    for number in range(3):
        one.send({"number": number, "text": "two\nlines"})
    assert other.receive() == {"number": 0, "text": "two\nlines"}
    assert other.received() == [{"number": 1, "text": "two\nlines"}, {"number": 2, "text": "two\nlines"}]
    assert other.received() == []
    assert one.fileno() != other.fileno()
    one.close()
    other.close()


def test_half_a_message_waits_for_the_rest():
    one, other = Channel.pair()
    one.socket.sendall(b'{"a": ')
    assert other.received() == []
    one.socket.sendall(b"1}\n")
    assert other.received() == [{"a": 1}]
    one.close()
    other.close()


def test_the_end_of_the_other_process_is_none():
    one, other = Channel.pair()
    one.send({"a": 1})
    one.close()
    assert other.received() == [{"a": 1}, None]
    assert other.receive() is None
    other.send({"into": "the void"})
    other.close()


def test_a_reset_is_an_end_too():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for read in ("receive", "received"):
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            channel = Channel(accepted)
            assert getattr(channel, read)() in (None, [None])
            channel.close()


def test_mail_comes_from_anyone_and_never_blocks():
    mailbox = Mailbox()
    assert mailbox.send({"slot": 1})
    assert mailbox.send({"slot": 2})
    assert mailbox.received() == [{"slot": 1}, {"slot": 2}]
    assert mailbox.received() == []
    while mailbox.send({"text": "x" * 30_000}):
        pass
    assert len(mailbox.received()) > 1
    mailbox.close()


def test_mail_to_a_supervisor_that_is_gone_is_not_sent():
    mailbox = Mailbox()
    mailbox.close_receiver()
    assert not mailbox.send({"slot": 1})
    mailbox.close()


def test_long_texts_lose_their_middle():
    assert shortened("short") == "short"
    text = shortened("a" * 100 + "b" * 100, longest=50)
    assert text.startswith("a" * 25)
    assert text.endswith("b" * 25)
    assert "150 characters left out" in text
