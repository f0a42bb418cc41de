"""All secrets as one JSON object, in one environment variable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fastlane.resources.configuration import SecretsOptions
from fastlane.secrets.sources.source import Reading, Source

__all__ = ["JsonSource"]

DEFAULT = "FASTLANE_SECRETS"


class JsonSource(Source):
    """``FASTLANE_SECRETS='{"MAIL_KEY": "…"}'``."""

    def __init__(self, options: SecretsOptions, environment: Mapping[str, str]) -> None:
        super().__init__(options)
        self._variable = options.variable or DEFAULT
        self._environment = environment

    async def read(self, names: Sequence[str]) -> Reading:
        values: dict[str, str] = {}
        missing: dict[str, str] = {}
        document, problem = self._document()
        for name in names:
            key = self.options.names.get(name, name)
            value = document.get(key)
            if isinstance(value, str) and value:
                values[name] = value
            elif problem:
                missing[name] = problem
            elif key not in document:
                missing[name] = f"the object in {self._variable} has no key {key!r}"
            else:
                what = "is empty" if isinstance(value, str) else "is no text"
                missing[name] = f"{key!r} of the object in {self._variable} {what}"
        return Reading(values, missing)

    def place(self, name: str) -> str:
        return f"variable {self._variable}, key {self.options.names.get(name, name)}"

    def mend(self, name: str) -> str:
        return f'give the object in {self._variable} a member "{self.options.names.get(name, name)}": "…"'

    def _document(self) -> tuple[dict[str, object], str]:
        text = self._environment.get(self._variable)
        if not text:
            return {}, f"the variable {self._variable} is not set"
        try:
            document = json.loads(text)
        except ValueError:  # its text would quote what it could not read
            return {}, f"the variable {self._variable} holds no JSON"
        if not isinstance(document, dict):
            return {}, f"the variable {self._variable} holds JSON that is no object"
        return document, ""
