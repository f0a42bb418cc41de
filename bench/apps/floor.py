"""The floor: what uvloop costs when a server answers each read with the same bytes and does nothing else.

One port a scenario, in their order, so that the path need not be read: ``python -m bench.apps.floor PORT...``
"""

import asyncio
import sys

import uvloop

from bench.scenarios import SCENARIOS


def response(body: bytes) -> bytes:
    # The same head as the others send, Date included, but never made anew.
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\ndate: Tue, 24 Nov 2026 09:00:00 GMT\r\n\r\n"
    )
    return head.encode() + body


class ConstantWrite(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer)


async def main(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    for port, scenario in zip(ports, SCENARIOS, strict=True):
        answer = response(scenario.answer_bytes)
        await loop.create_server(lambda answer=answer: ConstantWrite(answer), "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main([int(port) for port in sys.argv[1:]]))
