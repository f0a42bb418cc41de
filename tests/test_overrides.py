from typing import Annotated

from fastlane import App, Depends
from fastlane.testing import TestClient


def current_user() -> str:
    return "real"


def whoami() -> App:
    app = App()

    @app.get("/me")
    async def me(user: Annotated[str, Depends(current_user, inline=True)]) -> str:
        return user

    return app


def test_overriding_a_dependency_leaves_nothing_behind() -> None:
    app = whoami()
    with TestClient(app) as client:
        assert client.get("/me").text == "real"
        with client.override(current_user, lambda: "fake"):
            assert client.get("/me").text == "fake"
            with client.override(current_user, lambda: "faker"):
                assert client.get("/me").text == "faker"
            assert client.get("/me").text == "fake"
        assert client.get("/me").text == "real"
    assert not app.dependency_overrides


def test_dependency_overrides_is_a_mapping() -> None:
    app = whoami()

    def fake() -> str:
        return "fake"

    app.dependency_overrides[current_user] = fake
    assert dict(app.dependency_overrides) == {current_user: fake}
    assert "current_user" in repr(app.dependency_overrides)
    with TestClient(app) as client:
        assert client.get("/me").text == "fake"
        app.dependency_overrides.clear()
        assert client.get("/me").text == "real"


def test_an_override_brings_its_own_parameters() -> None:
    def named(name: str) -> str:
        return name

    with TestClient(whoami()) as client, client.override(current_user, named):
        assert client.get("/me", params={"name": "ann"}).text == "ann"
        assert client.get("/me").status == 422
