"""Annotations as they are written, and what stands inside of them."""

from __future__ import annotations

import typing
from typing import Annotated, Any

__all__ = ["bare", "is_typed_dict"]


def bare(annotation: Any) -> Any:
    """Without ``Annotated``, ``NewType`` and aliases (PEP 695), however many lie around each other."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def is_typed_dict(kind: Any) -> bool:
    """Also those of ``typing_extensions``, which pydantic asks for, and which ``typing`` itself does not know."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")
