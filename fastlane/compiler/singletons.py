"""App-scoped dependencies: called once, at start-up, closed at the end in reverse order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fastlane.compiler.generators import close_async, close_generator, open_async, open_generator
from fastlane.compiler.plan import Call, Singleton
from fastlane.compiler.results import check_state

if TYPE_CHECKING:
    from fastlane.compiler.spec import Environment

__all__ = ["Singletons", "open_singletons"]


class Singletons(dict[Callable[..., Any], Any]):
    """The values of app-scoped dependencies, by function: ``RequestContext.singletons``."""

    def __missing__(self, function: Callable[..., Any]) -> Any:
        name = getattr(function, "__qualname__", function)
        raise RuntimeError(f"the app-scoped dependency {name} was not opened: the lifespan did not run")


async def open_singletons(environment: Environment, state: object, stack: AsyncExitStack) -> Singletons:
    """Calls every app-scoped dependency of the compiled routes, innermost first.

    Plain functions run in a worker thread unless they are ``inline``.

    Args:
        state: what the lifespan yielded.
        stack: closes those that yield, in reverse order, when it is closed.
    """
    values = Singletons()
    for key, call in environment.singletons.items():
        values[key] = await _open(call, values, state, environment, stack)
    return values


async def _open(call: Call, values: Singletons, state: object, environment: Environment, stack: AsyncExitStack) -> Any:
    positional, keywords = [], {}
    for argument in call.arguments:
        node = argument.node
        if isinstance(node, Singleton):
            value = values[node.call.key]
        else:
            value = check_state(state, getattr(node, "type", None) or object)
        if argument.keyword:
            keywords[argument.name] = value
        else:
            positional.append(value)

    def made() -> Any:
        return call.function(*positional, **keywords)

    run = environment.threads.run
    if call.nature == "coroutine":
        return await made()
    if call.nature == "async generator":
        generator = made()
        value = await open_async(generator)
        stack.push_async_callback(close_async, generator)
        return value
    if call.nature == "inline generator":
        generator = made()
        value = open_generator(generator)
        stack.callback(close_generator, generator)
        return value
    if call.nature == "generator":
        generator = made()
        value = await run(lambda: open_generator(generator))
        stack.push_async_callback(run, lambda: close_generator(generator))
        return value
    return await run(made) if call.nature == "thread" else made()
