"""``fastlane check``: every mistake at once."""

from __future__ import annotations

from .conftest import Fastlane, Write

HEAD = "from fastlane import App\napp = App()\n"


def test_an_app_in_order_passes(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", HEAD + "@app.get('/')\nasync def index() -> str: ...\n")
    outcome = fastlane("check", "blog")
    assert (outcome.code, outcome.out) == (0, "blog: 1 route, all in order\n")


def test_all_mistakes_of_all_handlers_are_reported_with_place_and_mend(fastlane: Fastlane, write: Write) -> None:
    path = write(
        "blog.py",
        HEAD
        + "@app.get('/posts/{id}')\nasync def no_parameter() -> str: ...\n"
        + "@app.get('/fine')\nasync def fine() -> str: ...\n"
        + "@app.get('/untyped')\nasync def untyped(value) -> str: ...\n"
        + "@app.get('/later')\nasync def unresolved(value: 'Nowhere') -> str: ...\n",
    )
    outcome = fastlane("check", "blog:app")
    assert outcome.code == 1
    for line, handler in ((3, "no_parameter"), (7, "untyped"), (9, "unresolved")):
        assert f"{path}:{line}: handler '{handler}'" in outcome.out
    assert "'fine'" not in outcome.out
    assert outcome.out.count("mend: ") == 3
    assert outcome.out.endswith("3 errors in blog:app\n")


def test_an_import_that_fails_still_shows_the_mistakes_before_it(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", HEAD + "@app.get('/untyped')\nasync def untyped(value) -> str: ...\n1 / 0\n")
    outcome = fastlane("check", "blog")
    assert outcome.code == 4
    assert "handler 'untyped'" in outcome.out
    assert "ZeroDivisionError" in outcome.err
