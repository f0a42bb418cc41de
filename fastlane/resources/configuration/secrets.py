"""``[secrets]``: where secrets come from."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from fastlane.resources.configuration.table import HiddenText, PauseText, Table

__all__ = ["SecretsOptions"]


class SecretsOptions(Table, frozen=True):
    """``[secrets]``.

    Attributes:
        provider: ``env``; ``dotenv`` (a file of NAME=value); ``files`` (a directory, a file per secret, as Docker and
            Kubernetes mount them); ``json`` (all in one variable); ``aws`` (Secrets Manager); ``gcp`` (Secret Manager).
        path: of the dotenv file or the directory, from the working directory; default: ``.env``, ``/run/secrets``.
        variable: of ``json``; default: ``FASTLANE_SECRETS``.
        prefix: before each name, at ``env``, ``aws`` and ``gcp``.
        names: where a secret is called otherwise there.
        refresh: how often they are read again; 0: never. Default: 5 minutes for files, aws and gcp, else never.
        region, endpoint_url, access_key_id, secret_access_key: of ``aws``.
        project, endpoint, credentials: of ``gcp``.
    """

    provider: Literal["env", "dotenv", "files", "json", "aws", "gcp"] = "env"
    path: str | None = None
    variable: str | None = None
    prefix: str = ""
    names: dict[str, str] = msgspec.field(default_factory=dict)
    refresh: PauseText | None = None
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: HiddenText | None = None
    project: str | None = None
    endpoint: str | None = None
    credentials: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        known = _OWN_KEYS[self.provider]
        for field in msgspec.structs.fields(self):
            is_given = getattr(self, field.name) != (field.default if field.default is not msgspec.NODEFAULT else {})
            if is_given and field.name in _SPECIAL and field.name not in known:
                takers = " and ".join(provider for provider, keys in _OWN_KEYS.items() if field.name in keys)
                raise ValueError(f"{field.name} is a key of {takers}, and the provider is {self.provider}")
        if (self.access_key_id is None) is not (self.secret_access_key is None):
            raise ValueError("give access_key_id and secret_access_key, or neither")
        if self.provider == "gcp" and self.project is None:
            raise ValueError("gcp needs project")


_OWN_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "env": ("prefix",),
    "dotenv": ("path",),
    "files": ("path",),
    "json": ("variable",),
    "aws": ("prefix", "region", "endpoint_url", "access_key_id", "secret_access_key"),
    "gcp": ("prefix", "project", "endpoint", "credentials"),
}
_SPECIAL = frozenset(key for keys in _OWN_KEYS.values() for key in keys)
