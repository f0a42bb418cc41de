"""The object: what it answers, and that it never shows it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading

import msgspec
import pytest

from fastlane import App, CompileError
from fastlane.redaction import redacted
from fastlane.resources.declaration import NotBound
from fastlane.secrets import NoValue, Secret
from fastlane.secrets.values import Layer, values
from fastlane.testing import TestClient


def test_without_a_value_get_says_what_to_do() -> None:
    key = Secret("TEST_KEY")
    with pytest.raises(NoValue, match=r'with secret\.override\("x"\)') as caught:
        key.get()
    assert caught.value.name == "TEST_KEY"
    assert isinstance(caught.value, NotBound | LookupError)
    with pytest.raises(NoValue):
        key.binding
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("name", ["mail_key", "1KEY", "MAIL-KEY", "", "K" * 129])
def test_a_name_is_that_of_a_variable(name: str) -> None:
    with pytest.raises(CompileError, match="is no name for a secret"):
        Secret(name)


def test_overrides_nest_and_are_undone_in_any_order() -> None:
    key = Secret("TEST_KEY")
    one, other = key.override("first value"), key.override("second value")
    one.__enter__()
    assert key.get() == "first value"
    other.__enter__()
    assert key.get() == "second value"
    one.__exit__(None, None, None)
    assert key.get() == "second value"
    other.__exit__(None, None, None)
    with pytest.raises(NoValue):
        key.get()


def test_an_override_ends_with_an_exception_too() -> None:
    key = Secret("TEST_KEY")
    with pytest.raises(ZeroDivisionError), key.override("a value"):
        1 / 0
    with pytest.raises(NoValue):
        key.get()


def test_an_override_takes_a_text() -> None:
    with pytest.raises(TypeError, match="a secret is a text, not bytes"), Secret("TEST_KEY").override(b"x"):  # type: ignore[arg-type]
        pass


def test_an_override_is_hidden_while_it_lasts() -> None:
    with Secret("TEST_KEY").override("overridden horse"):
        assert redacted("the overridden horse") == "the ***TEST_KEY***"
    assert redacted("the overridden horse") == "the overridden horse"


def test_an_override_is_seen_in_other_threads() -> None:
    key, seen = Secret("TEST_KEY"), list[str]()
    with key.override("a value"):
        thread = threading.Thread(target=lambda: seen.append(key.get()))
        thread.start()
        thread.join()
    assert seen == ["a value"]


def test_handlers_of_both_kinds_see_what_a_test_overrides() -> None:
    app, key = App(), Secret("TEST_KEY")

    @app.get("/async")
    async def in_the_loop() -> int:
        return len(key.get())

    @app.get("/plain")
    def in_a_thread() -> int:
        return len(key.get())

    with TestClient(app) as client, key.override("four"):
        assert client.get("/async").json() == 4
        assert client.get("/plain").json() == 4
        with key.override("sixsix"):
            assert client.get("/plain").json() == 6


def test_nothing_that_writes_the_object_writes_its_value() -> None:
    @dataclasses.dataclass
    class Holder:
        key: Secret

    key = Secret("TEST_KEY")
    with key.override("correct horse"):
        written = [repr(key), str(key), f"{key}", f"{key!r:>40}", f"{key:x}", f"{Holder(key)}", str(vars(key))]
        for encode in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, msgspec.to_builtins):
            with pytest.raises(TypeError) as caught:
                encode(key)
            written.append(str(caught.value))
    assert "correct horse" not in "".join(written)
    assert str(key) == "Secret('TEST_KEY', ****)"


def test_a_copy_is_the_secret_itself() -> None:
    key = Secret("TEST_KEY")
    assert copy.copy(key) is key
    assert copy.deepcopy({"key": key})["key"] is key


def test_the_newest_layer_that_has_a_value_counts() -> None:
    key = Secret("TEST_KEY")
    old, new = Layer({"TEST_KEY": "older value"}), Layer({"TEST_OTHER": "another value"})
    values.push(old)
    values.push(new)
    try:
        assert key.get() == "older value"
        assert key.binding is None
        old.replace("TEST_KEY", "newer value")
        assert key.get() == "newer value"
        assert redacted("older value, newer value") == "***TEST_KEY***, ***TEST_KEY***"
    finally:
        values.remove(new)
        values.remove(old)
    with pytest.raises(NoValue):
        key.get()
    assert redacted("an older value") == "an ***TEST_KEY***"  # what ended an app is logged after all was closed


def test_only_the_last_values_of_a_secret_stay_hidden() -> None:
    layer = Layer({"TEST_KEY": "value number 0"})
    for number in range(1, 6):
        layer.replace("TEST_KEY", f"value number {number}")
    assert [redacted(f"value number {number}") == "***TEST_KEY***" for number in range(6)] == [False] * 2 + [True] * 4


def test_a_callback_is_registered_by_a_decorator_too() -> None:
    key = Secret("TEST_KEY")

    @key.on_change
    def reconnect() -> None: ...

    assert key.callbacks == (reconnect,)
