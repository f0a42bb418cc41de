"""A subscription's handler: what it takes, and how it is called. Read from its signature, once."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, MutableSequence, Sequence
from types import FrameType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union

from fastlane.annotations import bare
from fastlane.errors import CompileError
from fastlane.pubsub.topics.message import Message

__all__ = ["Takes", "UnresolvedHandler", "described", "handler_mistake", "is_coroutine_handler", "takes_of"]

Takes: TypeAlias = Literal["value", "message", "values", "messages"]

_LISTS: Final = (list, Sequence, MutableSequence, Collection, Iterable)
_FOREIGN: Final = ("fastapi", "faststream", "fast_depends", "litestar", "starlette", "taskiq", "taskiq_dependencies")


class UnresolvedHandler(CompileError):
    """Its annotation names something that does not exist yet."""


def handler_mistake(handler: Any, problem: str, mend: str, parameter: str | None = None) -> CompileError:
    """The error for a handler, with its file and line."""
    code = getattr(inspect.unwrap(_underlying(handler)), "__code__", None)
    return CompileError(
        problem,
        mend=mend,
        handler=getattr(handler, "__qualname__", None) or repr(handler),
        parameter=parameter,
        file=code.co_filename if code else "",
        line=code.co_firstlineno if code else 0,
    )


def is_coroutine_handler(handler: Any) -> bool:
    """Whether it is called on the event loop; what is not runs in a thread.

    A wrapper that is no ``async def`` but wraps one (``functools.wraps``) is called like the inner function.

    Raises:
        CompileError: it is a generator.
    """
    called = _underlying(handler)
    for candidate in (called, inspect.unwrap(called)):
        if inspect.isasyncgenfunction(candidate) or inspect.isgeneratorfunction(candidate):
            raise handler_mistake(
                handler, "it is a generator: nobody would take what it yields", "publish instead, or do without `yield`"
            )
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(inspect.unwrap(called))


def takes_of(handler: Any, event: Any, *, batch: bool, frame: FrameType | None) -> Takes:
    """What the handler's parameter asks for.

    Args:
        event: the topic's type.
        frame: where the handler was decorated; its annotations may name the frame's locals.

    Raises:
        UnresolvedHandler: an annotation names something that does not exist (yet).
        CompileError: the handler can't be called with a message of the topic.
    """
    parameter = _only_parameter(handler, event, batch, frame)
    annotation = parameter.annotation
    if annotation is not parameter.empty:
        annotation = _resolved(handler, parameter, frame)
        _refuse_markers(handler, parameter.name, annotation)
    if annotation is parameter.empty or annotation in (Any, object):
        return "values" if batch else "value"
    item = _item_of(annotation)
    if batch and item is not None:
        if _is_message_of(item, event):
            return "messages"
        if _fits(item, event):
            return "values"
    if not batch and _is_message_of(annotation, event):
        return "message"
    if not batch and _fits(annotation, event):
        return "value"
    name, written = parameter.name, described(annotation)
    if batch:
        problem = f"it takes {written}, and with batch= it gets a list of {described(event)}"
    else:
        problem = f"it takes {written}, and the topic carries {described(event)}"
    mend = _mend(name, event, batch)
    if item is not None and not batch and (_is_message_of(item, event) or _fits(item, event)):
        mend += "; for lists give `batch=Batch(100, wait=1)`"
    raise handler_mistake(handler, problem, mend, name)


def _only_parameter(handler: Any, event: Any, batch: bool, frame: FrameType | None) -> inspect.Parameter:
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover - needs 3.14
            import annotationlib

            signature = inspect.signature(handler, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            signature = inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise handler_mistake(
            handler, f"its signature can't be read: {error}", "decorate an `async def` or a `def`"
        ) from None
    parameters = list(signature.parameters.values())
    for parameter in parameters:
        _refuse_marker(handler, parameter.name, parameter.default)
    for parameter in parameters[1:]:
        try:
            annotation = _resolved(handler, parameter, frame)
        except CompileError:
            continue  # it is one too many, whatever it is
        _refuse_markers(handler, parameter.name, annotation)
    mend = _mend(parameters[0].name if parameters else "event", event, batch)
    if len(parameters) != 1:
        count = "no parameter" if not parameters else f"{len(parameters)} parameters"
        raise handler_mistake(handler, f"it has {count}, and is called with one", mend)
    only = parameters[0]
    if only.kind not in (only.POSITIONAL_ONLY, only.POSITIONAL_OR_KEYWORD):
        stars = "*" if only.kind is only.VAR_POSITIONAL else "**" if only.kind is only.VAR_KEYWORD else ""
        raise handler_mistake(
            handler, f"{stars}{only.name} is no ordinary parameter", f"{mend}; a decorator needs @functools.wraps"
        )
    return only


def _resolved(handler: Any, parameter: inspect.Parameter, frame: FrameType | None) -> Any:
    """The annotation. The handler's own module comes first, then what the frame sees."""
    function = inspect.unwrap(_underlying(handler))
    own: dict[str, Any] = getattr(function, "__globals__", {})
    variables = {one.__name__: one for one in getattr(function, "__type_params__", ())}
    seen: dict[str, Any] = {}
    while frame is not None:  # A class of a function around the function that decorates may be named, too.
        if frame.f_globals is own and frame.f_locals is not frame.f_globals:
            seen = {**frame.f_locals, **seen}
        frame = frame.f_back
    nested = "<locals>" in getattr(function, "__qualname__", "")
    scopes = [{**seen, **variables}] if nested else [variables, {**seen, **variables}]
    # typing resolves the hints of whatever has ``__annotations__``.
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    missing: NameError | None = None
    for scope in scopes:
        try:
            return typing.get_type_hints(holder, own, scope, include_extras=True)["it"]
        except NameError as error:
            missing = error
        except Exception as error:
            raise handler_mistake(
                handler,
                f"the annotation {parameter.annotation!r} can't be evaluated: {error}",
                "write an annotation that Python can evaluate",
                parameter.name,
            ) from error
    unresolved = handler_mistake(
        handler,
        f"the annotation {parameter.annotation!r} names something that does not exist: {missing}",
        "define it before the app starts, and import it outside `if TYPE_CHECKING:`",
        parameter.name,
    )
    raise UnresolvedHandler(
        unresolved.problem,
        mend=unresolved.mend,
        handler=unresolved.handler,
        parameter=unresolved.parameter,
        file=unresolved.file,
        line=unresolved.line,
    ) from missing


def _refuse_markers(handler: Any, name: str, annotation: Any) -> None:
    """Nothing of a request may be asked for."""
    if typing.get_origin(annotation) is Annotated:
        for extra in typing.get_args(annotation)[1:]:
            _refuse_marker(handler, name, extra)
    _refuse_marker(handler, name, annotation)


def _refuse_marker(handler: Any, name: str, value: Any) -> None:
    # By the name of the module: this wing knows nothing of the request wing.
    owner = value if isinstance(value, type) else type(value)
    module = owner.__module__ or ""
    kind = owner.__name__
    if kind in ("Depends", "Dependency", "TaskiqDepends") and (
        module == "fastlane.params" or module.partition(".")[0] in _FOREIGN
    ):
        raise _no_dependencies(handler, name, kind)
    if module == "fastlane.params" or module in ("fastlane.http.request", "fastlane.websocket"):
        raise handler_mistake(
            handler,
            f"it asks for {kind}, and there is no request here",
            "put what the handler needs into the event, or into an attribute and take a Message",
            name,
        )


def _no_dependencies(handler: Any, name: str, kind: str) -> CompileError:
    return handler_mistake(
        handler,
        f"it asks for {kind}(), and a subscription has no dependencies",
        "call the function in the handler, and use declared resources (a Database, a Secret) directly",
        name,
    )


def _item_of(annotation: Any) -> Any:
    """What a list has in it; None: it is none."""
    annotation = bare(annotation)
    if annotation in _LISTS or annotation is typing.List:  # noqa: UP006 - what users may have written
        return Any
    if typing.get_origin(annotation) in _LISTS:
        return typing.get_args(annotation)[0]
    return None


def _is_message_of(annotation: Any, event: Any) -> bool:
    annotation = bare(annotation)
    if annotation is Message:
        return True
    return typing.get_origin(annotation) is Message and _fits(typing.get_args(annotation)[0], event)


def _fits(annotation: Any, event: Any) -> bool:
    """Whether a function that takes ``annotation`` can take what the topic carries."""
    if annotation in (Any, object) or isinstance(annotation, typing.TypeVar) or annotation == event:
        return True
    event = type(None) if event is None else event  # as `typing` has it in an annotation
    taken, carried = _arms(bare(annotation)), _arms(bare(event))
    return all(any(_covers(arm, one) for arm in taken) for one in carried)


def _covers(taken: Any, carried: Any) -> bool:
    if taken == carried:
        return True
    return isinstance(taken, type) and isinstance(carried, type) and issubclass(carried, taken)


def _arms(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(map(bare, typing.get_args(annotation)))
    return (annotation,)


def described(annotation: Any) -> str:
    """A type as its author wrote it, near enough."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(map(described, arguments))
    if isinstance(origin, type) and arguments and not any(isinstance(one, list) for one in arguments):
        return f"{origin.__name__}[{', '.join(map(described, arguments))}]"
    return str(annotation).replace("typing.", "")


def _mend(name: str, event: Any, batch: bool) -> str:
    written = described(event)
    if batch:
        return f"write `{name}: list[{written}]` or `{name}: list[Message[{written}]]`"
    return f"write `{name}: {written}` or `{name}: Message[{written}]`"


def _underlying(handler: Any) -> Callable[..., Any]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.isroutine(handler):
        return handler
    call = inspect.getattr_static(type(handler), "__call__", None)
    return call if inspect.isfunction(call) else handler
