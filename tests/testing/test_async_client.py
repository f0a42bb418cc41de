import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastlane import App, WebSocket, WebSocketDisconnect
from fastlane.testing import AsyncTestClient, WebSocketDenied


def noting(order: list[str]) -> App:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[asyncio.AbstractEventLoop]:
        order.append("start")
        yield asyncio.get_running_loop()
        order.append("stop")

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler() -> bool:
        order.append("request")
        return asyncio.get_running_loop() is app.context.state

    return app


def test_the_app_runs_on_the_loop_of_the_test() -> None:
    order: list[str] = []
    app = noting(order)

    async def main() -> None:
        async with AsyncTestClient(app) as client:
            assert order == ["start"]
            assert (await client.get("/")).json() is True
            assert app.context.state is asyncio.get_running_loop()

    asyncio.run(main())
    assert order == ["start", "request", "stop"]


def test_the_first_request_starts_it_once_and_aclose_ends_it() -> None:
    order: list[str] = []

    async def main() -> None:
        client = AsyncTestClient(noting(order))
        await asyncio.gather(*(client.get("/") for _ in range(3)))
        await client.aclose()
        await client.aclose()

    asyncio.run(main())
    assert order == ["start", "request", "request", "request", "stop"]


def test_a_client_that_is_not_closed_ends_with_the_loop() -> None:
    order: list[str] = []

    async def main() -> None:
        await AsyncTestClient(noting(order)).get("/")

    asyncio.run(main())
    assert order == ["start", "request", "stop"]


def test_every_method_has_its_coroutine() -> None:
    app = App()

    @app.route("/", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def handler() -> str:
        return "x"

    async def main() -> list[int]:
        async with AsyncTestClient(app) as client:
            methods = (client.get, client.post, client.put, client.patch, client.delete, client.head, client.options)
            return [(await method("/")).status for method in methods]

    assert asyncio.run(main()) == [200] * 6 + [204]


def test_websockets_are_async_too() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(await websocket.receive_json())
        await websocket.send_bytes(await websocket.receive_bytes())

    async def main() -> None:
        async with AsyncTestClient(app) as client:
            async with client.websocket_connect("/ws") as websocket:
                await websocket.send_json([1])
                assert await websocket.receive_json() == [1]
                await websocket.send_bytes(b"x")
                assert await websocket.receive_bytes() == b"x"
            with pytest.raises(WebSocketDenied) as caught:
                await client.websocket_connect("/none").__aenter__()
            assert caught.value.response is not None
            assert caught.value.response.status == 404

    asyncio.run(main())


def test_the_failure_of_the_test_itself_is_the_one_to_see() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        raise KeyError

    async def main() -> None:
        async with AsyncTestClient(app) as client, client.websocket_connect("/ws"):
            raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine"):
        asyncio.run(main())


def test_an_application_that_returns_early_is_a_disconnect() -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        return

    async def main() -> None:
        client = AsyncTestClient(application, lifespan=False)
        with pytest.raises(WebSocketDisconnect, match="returned") as caught:
            await client.websocket_connect("/ws").__aenter__()
        assert caught.value.code == 1006

    asyncio.run(main())


def test_a_client_at_module_level_serves_one_loop_after_the_other() -> None:
    order: list[str] = []
    client = AsyncTestClient(noting(order))

    async def ask() -> Any:
        return (await client.get("/")).json()

    assert asyncio.run(ask()) is True
    assert asyncio.run(ask()) is True
    assert order == ["start", "request", "stop"] * 2
