"""The table of options (`fastlane.server.options`) as command line flags.

A flag hands on the text that was typed: reading and checking belong to the table, so that a flag, a variable and a key
of the file are judged by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from fastlane.server.option import Option
from fastlane.server.options import OPTIONS
from fastlane_cli.habits import option_hint

__all__ = ["OptionCommand", "serve_flags"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHORT = {"workers": "-w", "config": "-c"}


class OptionCommand(click.Command):
    """A command whose help lists the options under the table's headings, each with its default.

    An option that it does not have, but that other servers do, is answered with its name here.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = option_hint(error.option_name)
            if not hint:
                raise
            raise click.UsageError(f"No such option '{error.option_name}': {hint}.", ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        headings = {option.name: option.section for option in OPTIONS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(headings.get(parameter.name or "", "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def serve_flags(names: Iterable[str] | None = None) -> Callable[[_Command], _Command]:
    """A decorator: one flag for each option, or for those named. What is not given arrives as None."""
    chosen = [option for option in OPTIONS if names is None or option.name in set(names)]

    def decorate(function: _Command) -> _Command:
        for option in reversed(chosen):
            function = _flag(option)(function)
        return function

    return decorate


def _flag(option: Option) -> Callable[[_Command], _Command]:
    shown = f" [{option.shown_default}]" if option.shown_default else ""
    if option.negative_flag:
        spelled = f"{option.flag}/{option.negative_flag}"
        return click.option(spelled, option.name, is_flag=True, default=None, help=option.help + shown)
    short = [_SHORT[option.name]] if option.name in _SHORT else []
    return click.option(*short, option.flag, option.name, metavar=option.metavar, help=option.help + shown)
