"""A declared secret."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Never, TypeVar

from fastlane.resources.declaration import Kind, NotBound, Place, Resource
from fastlane.secrets.values import values

__all__ = ["NoValue", "Secret"]

Callback = TypeVar("Callback", bound=Callable[[], Any])


class NoValue(NotBound, LookupError):
    """A secret was asked for that has no value here. The text says how to give it one.

    Attributes:
        kind, name: of the secret.
    """

    def __init__(self, name: str) -> None:
        super().__init__("secret", name)
        text = (
            f"secret {name!r} has no value here.\n"
            f'    mend: in a test, `with secret.override("x"):` around what needs it, or set the variable {name}; '
            "in a script, `async with app.resources():`; at import there is none yet: call get() where it is used"
        )
        self.args = (text,)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name,)


class Secret(Resource[None]):
    """A value that is configured beside the code, and never shown.

    Declaring reads nothing: the value is resolved when the app boots, where ``[secrets]`` says, and all that are
    missing are told at once. The object shows its name alone, whoever prints, formats or logs it; it is not pickled,
    and JSON refuses it. The value is kept out of what the framework writes and of every ``logging`` handler.

    Args:
        name: as an environment variable: upper-case letters, digits and ``_``.

    Raises:
        CompileError: another name.

    Example::

        mail_key = Secret("MAIL_KEY")

        @app.post("/mail")
        async def send() -> None:
            await client.send(key=mail_key.get())
    """

    kind: ClassVar[Kind] = "secret"
    pattern = re.compile(r"[A-Z][A-Z0-9_]*")
    longest = 128
    described = "a letter A to Z, then letters, digits and _, such as MAIL_KEY, at most 128 characters"

    def __init__(self, name: str) -> None:
        super().__init__(name, Place.of_caller())
        self._callbacks: list[Callable[[], Any]] = []

    def get(self) -> str:
        """The value in force. Ask each time: it may be rotated. Works in coroutines, threads and scripts alike.

        Raises:
            NoValue: nothing has resolved it, or (in a test) nothing has overridden it.
        """
        value = values.get(self.name)
        if value is None:
            raise NoValue(self.name)
        return value

    @property
    def binding(self) -> None:
        """Whether there is a value. What is bound is the process, not an event loop.

        Raises:
            NoValue: there is none.
        """
        self.get()

    @contextlib.contextmanager
    def override(self, value: str) -> Iterator[None]:
        """Let `get` answer ``value`` inside the ``with``, in every thread of this process. May be nested. For tests.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(value, str):
            raise TypeError(f"a secret is a text, not {type(value).__name__}")
        token = values.override(self.name, value)
        try:
            yield
        finally:
            values.restore(self.name, token)

    def on_change(self, callback: Callback) -> Callback:
        """Call ``callback()`` after each rotation, on the event loop of the app. May be a decorator.

        It gets no value: `get` has the new one. What it raises is logged; an awaitable it returns is awaited.
        """
        self._callbacks.append(callback)
        return callback

    @property
    def callbacks(self) -> tuple[Callable[[], Any], ...]:
        """What `on_change` was given, in order."""
        return tuple(self._callbacks)

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, ****)"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce_ex__(self, _: object) -> Never:
        raise TypeError(f"{self!r} is not pickled: pass its name, or its value where it is needed")
