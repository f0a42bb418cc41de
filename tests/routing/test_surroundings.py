from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from msgspec import Struct

from fastlane import App, CompileError, Depends, Router, WebSocket
from fastlane.testing import TestClient


def shop() -> App:
    app = App()
    router = Router("/things")

    @router.post("")
    async def create(thing: Thing) -> Thing:
        return thing

    @app.get("/checked")
    async def checked(value: Annotated[int, Depends(later)]) -> int:
        return value

    @app.websocket("/ws/{number}")
    async def socket(websocket: WebSocket, number: Number) -> None:
        await websocket.accept()
        await websocket.send_json(number)

    app.include(router)

    class Thing(Struct):
        name: str

    async def later() -> Number:
        return 3

    Number = int
    return app


def test_a_handler_may_name_what_its_function_defines_further_down() -> None:
    with TestClient(shop()) as client:
        assert client.post("/things", json={"name": "lamp"}).json() == {"name": "lamp"}
        assert client.post("/things", json={"name": 1}).status == 422
        assert client.get("/checked").json() == 3
        with client.websocket_connect("/ws/4") as websocket:
            assert websocket.receive_json() == 4


def test_a_name_that_never_comes_is_an_error_with_a_mend() -> None:
    app = App()

    @app.get("/")
    async def handler() -> Never:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    with pytest.raises(CompileError, match="define it before the app starts"):
        app.freeze()


def test_what_a_name_meant_at_the_declaration_stays() -> None:
    app = App()

    def declare(path: str, kind: Any) -> Callable[..., Any]:
        @app.get(path)
        async def handler(value: kind) -> str:
            return type(value).__name__

        kind = str
        return handler

    for path, kind in (("/int", int), ("/float", float)):
        declare(path, kind)

    with TestClient(app) as client:
        assert client.get("/int?value=1").text == "int"
        assert client.get("/float?value=1").text == "float"


class Heavy: ...


@pytest.mark.parametrize("at_once", [True, False])
def test_the_stack_is_let_go_when_the_names_are_found(at_once: bool) -> None:
    def caller() -> tuple[App, weakref.ref[Heavy]]:
        heavy = Heavy()
        return declare(), weakref.ref(heavy)

    def declare() -> App:
        app = App()
        if at_once:
            Answer = int

        @app.get("/")
        async def handler() -> Answer:
            return 1

        Answer = int
        return app

    app, heavy = caller()
    if not at_once:
        app.freeze()
    gc.collect()

    assert heavy() is None
    assert app.table.exact
