"""What the parameters of one route lay claim to: the variables of the path, and the body, which is there once."""

from __future__ import annotations

import re
from typing import Final

from fastlane.compiler.annotations import Place
from fastlane.compiler.collections import ListReader
from fastlane.compiler.plan import Body, Default
from fastlane.compiler.reader import Reader
from fastlane.compiler.spec import RouteSpec
from fastlane.params import Marker

__all__ = ["BODY_METHODS", "Claims"]

BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

_CONVERTER = re.compile(r"\{([^{}:]+):([^{}]*)\}")


class Claims:
    """The claims of one route.

    Attributes:
        body: the one body, once a parameter has claimed it.
        form_owner: who first asked for a form; empty where nobody did.

    Raises:
        CompileError: from every method, with the place and the mend.
    """

    __slots__ = ("_body_owner", "_taken", "body", "form_owner", "spec")

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self.body: Body | None = None
        self.form_owner = ""
        self._body_owner = ""
        self._taken: set[str] = set()

    def check_template(self, place: Place) -> None:
        """``{id:int}``: the type belongs to the parameter (REQUESTS 1)."""
        for name, converter in _CONVERTER.findall(self.spec.path):
            if converter != "path":
                raise place.error(
                    f"the path {self.spec.path!r} has a converter: {{{name}:{converter}}}",
                    f"write {{{name}}} and annotate the parameter: `{name}: {converter or 'str'}`",
                    name,
                )

    def check_used(self, place: Place) -> None:
        """Every variable of the path has a parameter, in the handler or in a dependency."""
        for name in self.spec.path_names:
            if name not in self._taken:
                raise place.error(
                    f"the path {self.spec.path!r} has the variable {{{name}}}, and no parameter takes it",
                    f"add the parameter `{name}: str`, or take the variable out of the path",
                )

    def refuse_path_name(self, name: str, marker: Marker, place: Place) -> None:
        """A parameter that has the name of a path variable, and a marker that says otherwise."""
        if name in self.spec.path_names and marker.name in (None, name):
            raise place.error(
                f"{marker!r} contradicts the path {self.spec.path!r}, which has {{{name}}}",
                "take the marker away, or rename the parameter or the path's variable",
                name,
            )

    def take_variable(
        self, name: str, parameter: str, reader: Reader | ListReader, default: Default, place: Place
    ) -> None:
        """The variable ``name`` of the path is read by ``parameter``."""
        if name not in self.spec.path_names:
            known = ", ".join(f"{{{known}}}" for known in self.spec.path_names) or "no variables"
            raise place.error(
                f"Path() says that it is in the path, but {self.spec.path!r} has {known}",
                f"write {{{name}}} in the path, or Path({self.spec.path_names[0]!r})"
                if self.spec.path_names
                else f"write {{{name}}} in the path, or take the marker away",
                parameter,
            )
        if isinstance(reader, ListReader):
            raise place.error("a path variable holds one value, not several", "use a scalar", parameter)
        if not default.required:
            raise place.error(
                "a path parameter can't have a default: without the variable the path is another one",
                "take the default away, or add a route for the shorter path",
                parameter,
            )
        if reader.optional:
            raise place.error(
                "a path parameter is never None: without the variable the path is another one",
                "take `| None` away",
                parameter,
            )
        self._taken.add(name)

    def claim_body(self, body: Body, name: str, place: Place) -> None:
        """The parameter ``name`` reads the whole body."""
        if self.body is not None or self.form_owner:
            raise place.error(
                f"it is a second body; the first is {self._body_owner or self.form_owner}",
                "put both into one Struct, or mark one of them with Query(), Header() or Depends()",
                name,
            )
        self.body = body
        self._body_owner = f"{place.handler}({name})"

    def claim_form(self, name: str, place: Place) -> None:
        """The parameter ``name`` reads a form, or a part of one."""
        if self.body is not None:
            raise place.error(
                f"a form is a body, and {self._body_owner} is one already",
                "read all of the body as a form, or none of it",
                name,
            )
        if not frozenset(self.spec.methods) & (BODY_METHODS | {"DELETE"}):
            raise place.error(
                f"{'/'.join(self.spec.methods)} has no form", "use Query(), or a method with a body", name
            )
        self.form_owner = self.form_owner or f"{place.handler}({name})"
