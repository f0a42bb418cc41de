"""A plan, written out as the source of one function, and loaded.

    def call_create_post(request):
        try:
            head = request.head
            x_author = head.header(b'x-author').decode("latin-1")
            raw = request.raw_body
            new = unpack_new(raw) if head.is_msgpack else read_new(raw)
        except Exception as error:
            examine(request, error)
            raise
        return encode(create_post(new, x_author))

Nothing stands in it that the route did not ask for. The ``try`` holds reading only: what the handler or a dependency
raises is never taken for the client's mistake. ``examine`` raises what the client should hear; what it returns from
is a fault of ours, and goes on as it is. Every dependency reads its own values just before it runs, and the
handler's come last, so that a 401 precedes a 422 (REQUESTS 2, "order").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastlane.compiler import generators
from fastlane.compiler.binding import Binder
from fastlane.compiler.bodies import media_types
from fastlane.compiler.examination import Examination
from fastlane.compiler.plan import (
    Argument,
    Body,
    Call,
    Given,
    Mapping,
    Plan,
    Result,
    Singleton,
    StateOf,
    Structure,
    Value,
)
from fastlane.compiler.results import check_state, with_background
from fastlane.compiler.source import Names, SourceWriter, load_function
from fastlane.compiler.spec import Environment, Unset
from fastlane.compiler.straighten import as_plain_function
from fastlane.endpoint import BodyRule, Endpoint
from fastlane.http.background import BackgroundTasks

if TYPE_CHECKING:
    from fastlane.compiler.encoder import Encoder

__all__ = ["generate_endpoint"]

# fmt: off
_LOCALS: Final = frozenset({
    "request", "head", "values", "query", "form", "cookies", "raw", "text", "texts", "field", "name", "_",
    "value", "result", "background", "work", "error", "Exception", "BaseException",
})
# fmt: on
"""What generated lines call their own values; no parameter or function gets these names."""

_THREADED: Final = ("thread", "generator")


def generate_endpoint(plan: Plan, encoder: Encoder, environment: Environment) -> Endpoint:
    """The endpoint of a route."""
    return _Generator(plan, encoder, environment).endpoint()


class _Generator:
    """The state of writing one route: names, lines, and which call the next line may rely on."""

    __slots__ = (
        "binder",
        "calls",
        "encode",
        "encoder",
        "environment",
        "examine",
        "finish",
        "has_background",
        "names",
        "needs_request",
        "plan",
        "run",
        "suspends",
        "variables",
        "writer",
    )

    def __init__(self, plan: Plan, encoder: Encoder, environment: Environment) -> None:
        self.plan = plan
        self.encoder = encoder
        self.environment = environment
        self.calls = plan.all_calls
        self.names = Names(_LOCALS)
        for name, value in encoder.namespace.items():
            if self.names.bind(name, value) != name:
                raise ValueError(f"the encoder's name {name!r} is taken")  # its expression has it already
        self.examine = self.names.bind("examine", Examination(plan))
        self.encode = self.names.bind("encode", encoder.encode)
        # One bound method each, so that each has one name.
        self.run = environment.threads.run
        self.finish = environment.threads.finish
        self.writer = SourceWriter()
        self.binder = Binder(plan, self.names, self.writer)
        self.variables: dict[Call, str] = {}  # the value of each dependency
        self.suspends = any(call.suspends for call in self.calls)
        nodes = [argument.node for call in self.calls for argument in call.arguments]
        self.has_background = Given("background") in nodes
        self.needs_request = encoder.negotiates or any(
            not isinstance(node, Result) and node != Given("background") for node in nodes
        )

    def endpoint(self) -> Endpoint:
        spec = self.plan.spec
        function = self.names.take(f"call_{self.plan.handler.place.handler.rpartition('.')[2]}")
        kind = "async def" if self.suspends else "def"
        with self.writer.block(f"{kind} {function}(request):"):
            if self.has_background:
                self.writer.line(f"background = {self.names.bind('BackgroundTasks', BackgroundTasks)}()")
            self._steps(0, threaded=False, assign=False)
        source = self.writer.text()
        filename = f"<fastlane {'/'.join(spec.methods)} {spec.path}>"
        call = load_function(source, function, filename, self.names.namespace)
        return Endpoint(
            call,
            suspends=self.suspends,
            needs_request=self.needs_request,
            body=self._body_rule(),
            status=self.encoder.status,
            headers=tuple(self.encoder.headers),
            route=spec,
            source=source,
        )

    def _body_rule(self) -> BodyRule | None:
        plan = self.plan
        nodes = [argument.node for call in self.calls for argument in call.arguments]
        if plan.body is None and not plan.form and Given("request") not in nodes:
            return None
        max_size = self.environment.max_body
        if not isinstance(plan.spec.max_body, Unset):
            max_size = plan.spec.max_body
        if plan.body is not None and plan.body.max_size is not None:
            max_size = plan.body.max_size
        return BodyRule(media_types(plan.body, form=plan.form, strict=plan.spec.strict_content_type), max_size)

    # -- the calls, in order

    def _steps(self, position: int, *, threaded: bool, assign: bool) -> None:
        """The calls from ``position`` on. They end in ``return``, or in ``result = …`` where ``assign``."""
        call = self.calls[position]
        if call.nature in _THREADED and not threaded:
            self._hop(position, assign=assign)
            return
        last = position == len(self.calls) - 1
        arguments = self._arguments(call)
        if last:
            self._finish(call, arguments, assign=assign)
        elif call.nature.endswith("generator"):
            self._generator(call, arguments, position, threaded=threaded, assign=assign)
        else:
            self._assign(call, self._invoke(call, arguments))
            self._steps(position + 1, threaded=threaded, assign=assign)

    def _assign(self, call: Call, expression: str) -> None:
        variable = self._variable(call)
        self.writer.line(f"{variable} = {expression}" if variable else expression)

    def _variable(self, call: Call) -> str | None:
        """The local that holds a dependency's value, named as its first consumer names it; None where nobody does."""
        if call not in self.variables:
            for other in self.calls:
                for argument in other.arguments:
                    if isinstance(argument.node, Result) and argument.node.call is call:
                        self.variables[call] = self.names.take(argument.name)
                        return self.variables[call]
            return None
        return self.variables[call]

    def _invoke(self, call: Call, arguments: str) -> str:
        function = call.function
        if call.nature == "coroutine" and not call.suspends:
            function = as_plain_function(function)
        name = self.names.bind(getattr(call.function, "__name__", "function"), function)
        waits = "await " if call.nature == "coroutine" and call.suspends else ""
        return f"{waits}{name}({arguments})"

    def _finish(self, call: Call, arguments: str, *, assign: bool) -> None:
        value = self._invoke(call, arguments)
        if self.encoder.negotiates:
            encoded = f'{self.encode}({value}, request.head.header_values(b"accept"))'
        elif self.encoder.inline is not None:
            self.writer.line(f"value = {value}")
            encoded = self.encoder.inline
        else:
            encoded = f"{self.encode}({value})"
        if self.has_background:
            attach = self.names.bind("with_background", with_background)
            status, headers = self.encoder.status, self.names.bind("headers", tuple(self.encoder.headers))
            encoded = f"{attach}({encoded}, background, {status}, {headers})"
        self.writer.line(f"result = {encoded}" if assign else f"return {encoded}")

    def _generator(self, call: Call, arguments: str, position: int, *, threaded: bool, assign: bool) -> None:
        """A dependency with a ``yield``: everything after it stands inside a ``try``."""
        waits = "await " if call.nature == "async generator" else ""
        generator = self._open(call, arguments)
        with self.writer.block("try:"):
            self._steps(position + 1, threaded=threaded, assign=True)
        with self.writer.block("except BaseException as error:"):
            self.writer.line(f"{waits}{self._helper(call, 'throw')}({generator}, error)")
            self.writer.line("raise")
        self.writer.line(f"{waits}{self._helper(call, 'close')}({generator})")
        if not assign:
            self.writer.line("return result")

    def _open(self, call: Call, arguments: str) -> str:
        """Makes the generator and runs it to its ``yield``; answers the local that holds it."""
        waits = "await " if call.nature == "async generator" else ""
        function = self.names.bind(getattr(call.function, "__name__", "function"), call.function)
        generator = self.names.take(f"{function}_generator")
        self.writer.line(f"{generator} = {function}({arguments})")
        self._assign(call, f"{waits}{self._helper(call, 'open')}({generator})")
        return generator

    def _helper(self, call: Call, verb: str) -> str:
        name = f"{verb}_{'async' if call.nature == 'async generator' else 'generator'}"
        return self.names.bind(name, getattr(generators, name))

    # -- worker threads

    def _hop(self, position: int, *, assign: bool) -> None:
        """One trip into a worker thread for every plain ``def`` from ``position`` on that needs none of the loop."""
        end = position
        for index in range(position, len(self.calls)):
            nature = self.calls[index].nature
            if nature in _THREADED:
                end = index + 1
            elif nature not in ("inline", "inline generator"):
                break
        run = self.names.bind("in_thread", self.run)
        seen = set(self.binder.seen)
        if end == len(self.calls):
            with self.writer.block("def work():"):
                self._steps(position, threaded=True, assign=False)
            self.writer.line(f"{'result =' if assign else 'return'} await {run}(work)")
            return
        group = self.calls[position:end]
        variables = [variable for call in group if (variable := self._variable(call)) is not None]
        generators_opened = any(call.nature.endswith("generator") for call in group)
        opened = self.names.take("opened") if generators_opened else None
        with self.writer.block("def work():"):
            self._group(group, variables, [], keep=opened is not None)
        self.binder.seen = seen  # what was looked up in the thread's function is not to be seen outside
        targets = ", ".join([*variables, *([opened] if opened else [])])
        self.writer.line(f"{targets} = await {run}(work)" if targets else f"await {run}(work)")
        if opened is None:
            self._steps(end, threaded=False, assign=assign)
            return
        throw_all = self.names.bind("throw_all", generators.throw_all)
        close_all = self.names.bind("close_all", generators.close_all)
        finish = self.names.bind("finish_in_thread", self.finish)
        with self.writer.block("try:"):
            self._steps(end, threaded=False, assign=True)
        with self.writer.block("except BaseException as error:"):
            # ``error`` is unbound when the block is left, and the thread may run longer when this is cancelled.
            self.writer.line(f"await {finish}(lambda error=error: {throw_all}({opened}, error))")
            self.writer.line("raise")
        self.writer.line(f"await {finish}(lambda: {close_all}({opened}))")
        if not assign:
            self.writer.line("return result")

    def _group(self, group: list[Call], variables: list[str], opened: list[str], *, keep: bool) -> None:
        """The calls of a trip that comes back before the handler. Returns their values, and the open generators."""
        if not group:
            values = [*variables, *([f"({', '.join(opened)},)"] if keep else [])]
            if values:
                self.writer.line(f"return {', '.join(values)}")
            return
        call, *rest = group
        arguments = self._arguments(call)
        if not call.nature.endswith("generator"):
            self._assign(call, self._invoke(call, arguments))
            self._group(rest, variables, opened, keep=keep)
            return
        generator = self._open(call, arguments)
        if not rest:
            self._group(rest, variables, [*opened, generator], keep=keep)
            return
        with self.writer.block("try:"):
            self._group(rest, variables, [*opened, generator], keep=keep)
        with self.writer.block("except BaseException as error:"):
            self.writer.line(f"{self._helper(call, 'throw')}({generator}, error)")
            self.writer.line("raise")

    # -- arguments

    def _arguments(self, call: Call) -> str:
        """Writes the reading of a call's values, and answers its argument list."""
        written = []
        variables: dict[int, str] = {}
        reads = [
            argument for argument in call.arguments if isinstance(argument.node, (Value, Mapping, Body, Structure))
        ]
        if reads:
            with self.writer.block("try:"):
                self.binder.prepare(call)
                for argument in reads:
                    variable = variables[id(argument)] = self.names.take(argument.name)
                    assert isinstance(argument.node, (Value, Mapping, Body, Structure))
                    self.binder.read(argument.node, variable)
            with self.writer.block("except Exception as error:"):
                self.writer.line(f"{self.examine}(request, error)")
                self.writer.line("raise")
        for argument in call.arguments:
            value = variables.get(id(argument)) or self._handed_over(argument)
            written.append(f"{argument.name}={value}" if argument.keyword else value)
        return ", ".join(written)

    def _handed_over(self, argument: Argument) -> str:
        node = argument.node
        if isinstance(node, Given):
            return node.what
        if isinstance(node, StateOf):
            if node.type is None:
                return "request.context.state"
            check = self.names.bind("check_state", check_state)
            return f"{check}(request.context.state, {self.names.bind(node.type.__name__, node.type)})"
        if isinstance(node, Singleton):
            key = self.names.bind(getattr(node.call.key, "__name__", "key"), node.call.key)
            return f"request.context.singletons[{key}]"
        assert isinstance(node, Result)
        variable = self._variable(node.call)
        assert variable is not None
        return variable
