"""Secrets in environment variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastlane.resources.configuration import SecretsOptions
from fastlane.resources.configuration.references import without_line_end
from fastlane.secrets.sources.source import Reading, Source

__all__ = ["EnvironmentSource"]


class EnvironmentSource(Source):
    """``MAIL_KEY``, or the file that ``MAIL_KEY_FILE`` names, as the images of Docker take them."""

    def __init__(self, options: SecretsOptions, environment: Mapping[str, str]) -> None:
        super().__init__(options)
        self._environment = environment

    async def read(self, names: Sequence[str]) -> Reading:
        values: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in names:
            variable = self.called(name)
            try:
                value = self._look(variable)
            except ValueError as error:
                missing[name] = str(error)
                continue
            if value:
                values[name] = value
            else:
                missing[name] = f"the variable {variable} is {'not set' if value is None else 'empty'}"
        return Reading(values, missing)

    def place(self, name: str) -> str:
        return f"variable {self.called(name)}"

    def mend(self, name: str) -> str:
        variable = self.called(name)
        return f"set {variable}=… in the environment, or {variable}_FILE to the path of a file that holds it"

    def _look(self, variable: str) -> str | None:
        value = self._environment.get(variable)
        path = self._environment.get(f"{variable}_FILE")
        if value is not None or not path:
            return value
        try:
            return without_line_end(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise ValueError(f"{path}, which {variable}_FILE names, can't be read: {reason}") from None
