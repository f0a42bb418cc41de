"""``[secrets]``: where secrets come from."""

from __future__ import annotations

from typing import Literal

import msgspec

from fastlane.resources.configuration.table import DurationText, Table
from fastlane.resources.quantities import seconds

__all__ = ["SecretsOptions"]


class SecretsOptions(Table, frozen=True):
    """``[secrets]``.

    Attributes:
        provider: ``env``; ``dotenv`` (a file of NAME=value); ``files`` (a directory, a file per secret, as Docker and
            Kubernetes mount them); ``json`` (all in one variable); ``aws`` (Secrets Manager); ``gcp`` (Secret Manager).
        path: of the dotenv file or the directory; default: ``.env``, ``/run/secrets``.
        variable: of ``json``; default: ``FASTLANE_SECRETS``.
        prefix: before each name, at ``env``, ``aws`` and ``gcp``.
        names: where a secret is called otherwise there.
        refresh: how often they are read again; None: never. Default: 5 minutes for files, aws and gcp.
        region, endpoint_url, access_key_id, secret_access_key: of ``aws``.
        project, endpoint, credentials: of ``gcp``.
    """

    provider: Literal["env", "dotenv", "files", "json", "aws", "gcp"] = "env"
    path: str | None = None
    variable: str | None = None
    prefix: str = ""
    names: dict[str, str] = msgspec.field(default_factory=dict)
    refresh: DurationText | None = None
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    project: str | None = None
    endpoint: str | None = None
    credentials: str | None = None

    def __post_init__(self) -> None:
        if self.refresh is not None:
            msgspec.structs.force_setattr(self, "refresh", seconds(self.refresh))
