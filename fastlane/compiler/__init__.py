"""Annotation → plan → one generated function per route.

plan = read_handler(spec)                       at import: raises CompileError, with file, line and mend
endpoint = compile_endpoint(spec, environment)  when the app freezes: what a door calls
"""

from __future__ import annotations

from fastlane.compiler.annotations import UnresolvedName, describe, take_apart
from fastlane.compiler.dependencies import Overrides, read_plan
from fastlane.compiler.encoder import Encoder, compile_encoder
from fastlane.compiler.generate import generate_endpoint
from fastlane.compiler.mends import check_type
from fastlane.compiler.mistakes import Mistakes
from fastlane.compiler.plan import Plan
from fastlane.compiler.singletons import Singletons, open_singletons
from fastlane.compiler.spec import UNSET, Environment, RouteSpec
from fastlane.compiler.threads import WorkerThreads
from fastlane.endpoint import BodyRule, Endpoint, Match
from fastlane.errors import CompileError

__all__ = [
    "UNSET",
    "BodyRule",
    "Endpoint",
    "Environment",
    "Match",
    "Plan",
    "RouteSpec",
    "Singletons",
    "UnresolvedName",
    "WorkerThreads",
    "compile_endpoint",
    "open_singletons",
    "read_handler",
]


def read_handler(spec: RouteSpec) -> Plan:
    """Reads a route when it is declared, so that what is wrong with it is said there.

    Raises:
        UnresolvedName: an annotation names what does not exist yet; read it again when the app freezes.
        CompileError: what can't be compiled, all of it: see ``CompileError.each``.
    """
    plan, _ = _read(spec, {}, validate=False)
    return plan


def compile_endpoint(spec: RouteSpec, environment: Environment) -> Endpoint:
    """The endpoint of a route. Adds its app-scoped dependencies to ``environment.singletons``.

    Raises:
        CompileError: as ``read_handler``; an unresolved name is final here.
    """
    plan, encoder = _read(spec, environment.overrides, validate=environment.validate_responses)
    for call in plan.singletons:
        environment.singletons.setdefault(call.key, call)
    return generate_endpoint(plan, encoder, environment)


def _read(spec: RouteSpec, overrides: Overrides, *, validate: bool) -> tuple[Plan, Encoder]:
    mistakes = Mistakes()
    plan = read_plan(spec, overrides, mistakes)
    with mistakes.noted():
        encoder = _encoder_of(plan, validate=validate)
    mistakes.refuse()
    return plan, encoder


def _encoder_of(plan: Plan, *, validate: bool) -> Encoder:
    spec = plan.spec
    place = plan.handler.place
    check_type(take_apart(plan.returns).type, place, None)
    try:
        return compile_encoder(plan.returns, status=spec.status, produces=spec.produces, validate=validate)
    except CompileError as error:
        # The encoder knows the annotation, and not whose it is.
        raise place.error(error.problem, error.mend) from error
    except ValueError as error:
        raise place.error(
            f"{describe(plan.returns)} can't be returned: {error}", "use types and constraints that msgspec takes"
        ) from error
    except NameError as error:
        raise place.error(
            f"the return type {describe(plan.returns)} names something that does not exist: {error}",
            "define it at module level, before the app starts",
            kind=UnresolvedName,
        ) from error
