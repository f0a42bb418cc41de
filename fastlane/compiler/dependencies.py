"""A handler and everything that it depends on, as one flat list of calls (DESIGN 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastlane.compiler import mends
from fastlane.compiler.annotations import MISSING, Parameter, Place, Signature, read_signature, take_apart
from fastlane.compiler.mistakes import Mistakes
from fastlane.compiler.plan import Argument, Call, Given, Plan, Result, Singleton, StateOf, Structure, readings
from fastlane.compiler.sources import Sources
from fastlane.compiler.spec import RouteSpec
from fastlane.compiler.suspension import can_suspend, nature_of
from fastlane.params import Depends

__all__ = ["Overrides", "read_plan"]

MAX_YIELDING: Final = 15
"""Each takes a ``try`` around what comes after it, and CPython allows 20 blocks inside each other."""

Overrides = Mapping[Callable[..., Any], Callable[..., Any]]


def read_plan(spec: RouteSpec, overrides: Overrides, mistakes: Mistakes) -> Plan:
    """Everything that can be known about a route.

    Args:
        overrides: what is called instead of a dependency; its own parameters are bound like any other's.
        mistakes: gets what can't be compiled (a parameter, a dependency, the path). The plan lacks it.

    Raises:
        CompileError: the handler has no signature.
    """
    return _Reading(spec, overrides, mistakes).plan()


class _Reading:
    """One walk over a handler and its dependencies, innermost first, each function once."""

    __slots__ = ("calls", "mistakes", "open", "overrides", "singletons", "sources", "spec")

    def __init__(self, spec: RouteSpec, overrides: Overrides, mistakes: Mistakes) -> None:
        self.spec = spec
        self.mistakes = mistakes
        self.overrides = overrides
        self.sources = Sources(spec)
        self.calls: dict[Callable[..., Any], Call] = {}
        self.singletons: dict[Callable[..., Any], Call] = {}
        self.open: list[Callable[..., Any]] = []  # from the handler inwards, to find circles

    def plan(self) -> Plan:
        spec = self.spec
        noted = self.mistakes.noted
        signature = self._signature(spec.handler, returns=True)
        place = signature.place
        with noted():
            self.sources.claims.check_template(place)
        for depends in spec.dependencies:
            with noted():
                self._depend(depends, place, None)
        handler = self._call(spec.handler, spec.handler, signature.parameters, place, inline=spec.inline)
        with noted():
            self._check_calls(handler, place)
        return Plan(
            spec,
            list(self.calls.values()),
            handler,
            signature.returns,
            list(self.singletons.values()),
            self.sources.claims.body,
            bool(self.sources.claims.form_owner),
        )

    def _check_calls(self, handler: Call, place: Place) -> None:
        if handler.nature.endswith("generator"):
            raise place.error("a handler can't yield", "return a StreamingResponse of the generator")
        yielding = sum(call.nature.endswith("generator") for call in self.calls.values())
        if yielding > MAX_YIELDING:
            raise place.error(
                f"{yielding} of its dependencies yield, and Python nests no more than {MAX_YIELDING} of them",
                "let one of them open several things",
            )
        if not self.mistakes.found:  # what could not be read may have been the variable's parameter
            self.sources.claims.check_used(place)

    def _signature(self, function: Callable[..., Any], *, returns: bool) -> Signature:
        signature = read_signature(function, self.spec.localns, returns=returns)
        for mistake in signature.mistakes:
            with self.mistakes.noted():
                raise mistake
        return signature

    def _call(
        self,
        key: Callable[..., Any],
        function: Callable[..., Any],
        parameters: tuple[Parameter, ...],
        place: Place,
        *,
        inline: bool,
    ) -> Call:
        self.open.append(key)
        arguments = []
        for parameter in parameters:
            with self.mistakes.noted():
                arguments.append(self._argument(parameter, place))
        self.open.pop()
        nature = nature_of(function, inline=inline)
        return Call(key, function, place, nature, can_suspend(function, nature), arguments)

    def _argument(self, parameter: Parameter, place: Place) -> Argument:
        parts = take_apart(parameter.annotation)
        depends = [marker for marker in parts.markers if isinstance(marker, Depends)]
        if len(parts.markers) != 1 or not depends:
            return self.sources.argument(parameter, place)
        mends.check_parameter(parameter, parts, place)
        if parameter.name in self.spec.path_names:
            raise place.error(
                f"{depends[0]!r} contradicts the path {self.spec.path!r}, which has {{{parameter.name}}}",
                "rename the parameter or the path's variable",
                parameter.name,
            )
        if parameter.default is not MISSING:
            raise place.error("a dependency can't have a default", "take the default away", parameter.name)
        return Argument(parameter.name, parameter.keyword, self._depend(depends[0], place, parameter.name))

    def _depend(self, depends: Depends, place: Place, parameter: str | None) -> Result | Singleton:
        key = depends.function
        if not callable(key):
            raise place.error(f"Depends({key!r}) is not callable", "give it a function or a class", parameter)
        if key in self.open:
            raise place.error(f"{depends!r} depends on itself", "break the circle", parameter)
        if depends.scope == "app":
            return Singleton(self._singleton(depends, place, parameter))
        if depends.scope != "request":
            raise place.error(
                f"Depends(scope={depends.scope!r}): there is no such scope", 'use "request" or "app"', parameter
            )
        shared = self.calls.get(key)
        if shared is None:
            shared = self.calls[key] = self._dependency(depends)
        elif depends.inline:
            # Called once, however it is asked for: one promise not to block is a promise.
            shared.nature = nature_of(shared.function, inline=True)
            shared.suspends = can_suspend(shared.function, shared.nature)
        return Result(shared)

    def _dependency(self, depends: Depends) -> Call:
        function = self.overrides.get(depends.function, depends.function)
        signature = self._signature(function, returns=False)
        return self._call(depends.function, function, signature.parameters, signature.place, inline=depends.inline)

    def _singleton(self, depends: Depends, place: Place, parameter: str | None) -> Call:
        known = self.singletons.get(depends.function)
        if known is not None:
            return known
        call = self._dependency(depends)
        for argument in call.arguments:
            node = argument.node
            if isinstance(node, (Result, Given, Structure)) or any(readings(call)):
                raise place.error(
                    f"{depends!r} lives as long as the app, but its parameter {argument.name!r} is of one request",
                    "give it app-scoped dependencies and State() only",
                    parameter,
                )
            assert isinstance(node, (Singleton, StateOf))
        self.singletons[depends.function] = call
        return call
